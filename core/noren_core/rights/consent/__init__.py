"""Consents: events, records, validity, permits, receipts."""
