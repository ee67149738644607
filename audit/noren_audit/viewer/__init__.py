"""The auditor's pages on her own machine: hand in a bundle, read its report; nothing leaves the machine."""
