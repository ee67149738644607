"""This machine at a company: set up, checked, kept running every day, handed over to another one."""
