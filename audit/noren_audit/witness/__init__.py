"""A witness: cosigns the ledger while it grows, and never two that differ."""
