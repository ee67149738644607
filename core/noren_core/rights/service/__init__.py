"""Suspension, the end of the service, incidents."""
