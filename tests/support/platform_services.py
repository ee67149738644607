"""What a platform's company port needs beside what a test is about: students' rights, as they are served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from noren_server.grpc_rights import RightsParts
from noren_server.platform_files import Platform
from noren_server.rights.opening import publication_consents, rights_of


@contextmanager
def rights_parts(platform: Platform) -> Iterator[RightsParts]:
    """The parts of the Rights service, on the platform's own directory."""
    with publication_consents(platform) as consents, rights_of(platform, consents) as rights:
        yield rights.parts
