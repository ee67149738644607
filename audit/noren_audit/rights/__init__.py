"""What an auditor checks of coverage, gate and rights, offline or on the premises."""
