"""Examining an installed client, and faults made in it on purpose."""
