"""What the platform operator runs."""
