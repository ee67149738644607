"""Students' rights at a company: copies, answers, erasure."""
