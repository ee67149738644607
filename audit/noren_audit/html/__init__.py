"""The verdict as one page, for a lawyer first and a statistician below."""
