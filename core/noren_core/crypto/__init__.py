"""Cryptographic building blocks: oblivious evaluation, sealed tables, encrypted scoring, identities."""
