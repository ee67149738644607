"""What a privacy auditor runs: an offline verifier that trusts keys and nothing else."""
