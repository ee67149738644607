"""The platform's consent service: the book of signed events, permits, receipts and the consent log."""
