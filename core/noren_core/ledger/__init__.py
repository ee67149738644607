"""The transparency ledger: typed entries, checkpoints, proofs."""
