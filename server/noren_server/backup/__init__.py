"""Backups of the platform: of one instant, sealed, tried out, and restored without giving anything back."""
