"""Students' pages: deciding, seeing, asking; without scripts but for what a key signs or opens."""
