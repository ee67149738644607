"""The installed ClientApp; a company's pinned worker runs its own copy and never this file."""

from noren_client.flower_app import app

__all__ = ["app"]
