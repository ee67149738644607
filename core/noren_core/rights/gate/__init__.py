"""Decisions before scores: batches, the gate, roles, follow-up."""
