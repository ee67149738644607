"""Secure aggregation: double masking with drop-out recovery, sans I/O."""
