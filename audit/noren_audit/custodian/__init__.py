"""A custodian: keeps one share of the key of every record that a company keeps about one person."""
