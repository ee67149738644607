"""Import of what other systems export: into the one file that this program reads, `applicants.csv`."""
