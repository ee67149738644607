"""The installed ServerApp."""

from noren_server.flower_app import app
from noren_server.processes import die_with_parent

# Flower's SuperExec starts the process that loads this, and waits for nothing when it is killed itself.
die_with_parent()

__all__ = ["app"]
