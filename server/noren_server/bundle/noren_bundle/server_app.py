"""The installed ServerApp."""

from noren_server.flower_app import app

__all__ = ["app"]
