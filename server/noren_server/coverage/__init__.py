"""Whether valid consents cover what is processed: snapshots, classification, reports, the launch gate."""
