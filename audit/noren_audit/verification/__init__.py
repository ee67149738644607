"""What can be concluded from an exported ledger and a trust file."""
