"""What a party does on its own machine: private files, its secrets on disk, the passphrase for them."""
