"""Differential privacy: exact integer noise, events, accounting."""
