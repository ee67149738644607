"""Who would be processed, and whether they consented: classes, reports, the launch gate."""
