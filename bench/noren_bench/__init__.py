"""Noren's benchmarks: what the work costs, against the least it could cost and against what others offer."""
