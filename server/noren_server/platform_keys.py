"""Replacing the platform's own keys (docs/protocol.md §0.4).

Promises: the successor is in the ledger, signed by the key that it replaces, before it is used; nobody else
has the ledger open meanwhile, who would go on signing with the old key; the same call completes what a crash
interrupted. The services are stopped for it.
"""

from __future__ import annotations

import secrets

from noren_core.crypto.identity import SigningKey
from noren_core.errors import LocalProtocolError
from noren_core.ledger.entries import PLATFORM, EntryKind, PlatformKey
from noren_core.ledger.key_history import sign_change
from noren_core.ledger.note import VerifierKey
from noren_local.private_file import write_private
from noren_server.certificates import CertificateAuthority, certificate_sha256
from noren_server.enrolment import utc_now
from noren_server.ledger_service import LedgerService
from noren_server.ledger_store import LedgerStore
from noren_server.platform_files import (
    ASSIGNMENT_KEY,
    AUTHORITY,
    AUTHORITY_KEY,
    LOG_KEY,
    PLATFORM_KEY,
    RETIRING_LOG_KEY,
    SERVER_CERTIFICATE,
    SERVER_KEY,
    Platform,
    open_ledger,
    server_hosts,
)
from noren_server.platform_secrets import secrets_of

_NEXT_AUTHORITY_KEY, _NEXT_AUTHORITY = "keys/authority.next.key", "ca/ca.next.pem"
_FILES = {PlatformKey.PLATFORM: PLATFORM_KEY, PlatformKey.LOG: LOG_KEY}


def rotate(platform: Platform, role: PlatformKey) -> None:
    """Replace the platform's signing key or its log key; open the platform anew afterwards.

    1. Nobody else has the ledger open.
    2. Make the new key beside the old one, unless it is there from an earlier attempt.
    3. State the change, signed by the platform's current key and by the new key, for the log key also by the
       old log key, and append it; what an earlier attempt appended is the same entry and keeps its place.
    4. Of the log key, keep the old one: it signs along until `retire_log_key`.
    5. Swap the files: of the platform's key, the old one is gone.

    Raises:
        LocalProtocolError: with code LEDGER_IN_USE, if the services run.
    """
    files, name = secrets_of(platform.directory), _FILES[role]
    following_name = name.replace(".key", ".next.key")
    with open_ledger(platform, exclusively=True) as ledger:  # 1
        if files.read(following_name) is None:  # 2
            files.write(following_name, SigningKey.generate().to_bytes())
        following = platform.key(following_name)
        current = platform.key(name)
        if following.public_key != current.public_key:
            _state(platform, ledger, role, current, following)  # 3
            if role is PlatformKey.LOG:  # 4
                files.write(RETIRING_LOG_KEY, current.to_bytes())
            files.write(name, following.to_bytes())  # 5
        (platform.directory / following_name).unlink()


def retire_log_key(platform: Platform) -> None:
    """Forget the log key that was replaced: from now on checkpoints carry one signature.

    Raises:
        LocalProtocolError: if there is none, or, with code LEDGER_IN_USE, if the services run.
    """
    with open_ledger(platform, exclusively=True):
        if secrets_of(platform.directory).read(RETIRING_LOG_KEY) is None:
            raise LocalProtocolError("keys: expected a log key that was replaced, got none")
        (platform.directory / RETIRING_LOG_KEY).unlink()


def rotate_server_key(platform: Platform) -> None:
    """Replace key and certificate of gRPC and the fleet proxy, by the same authority that companies pin.

    A crash between the two files is mended by the same call again. The services use them from their next
    start on.
    """
    fresh = platform.authority.issue_server(server_hosts(platform.config.host), now=utc_now())
    with open_ledger(platform, exclusively=True):
        secrets_of(platform.directory).write(SERVER_KEY, fresh.key)
        write_private(platform.directory / SERVER_CERTIFICATE, fresh.certificate)


def rotate_authority(platform: Platform) -> str:
    """Replace the authority and, by the new one, the server's certificate; its SHA-256, to be read out.

    Companies have to be handed the new certificate (`ca/ca.pem`) before they reach the services again. Client
    certificates of the authority before are let in until they are renewed.

    1. A new authority beside the old one, unless an earlier attempt made it.
    2. Key, then certificates, the new one first, then the server's; each attempt writes the same authority.
    3. What stood beside is removed.
    """
    with open_ledger(platform, exclusively=True):
        following = _following_authority(platform)  # 1
        files, path = secrets_of(platform.directory), platform.directory / AUTHORITY
        former = path.read_bytes()
        if not former.startswith(following.certificate_pem):
            former = following.certificate_pem + _first_certificate(former)
        fresh = following.issue_server(server_hosts(platform.config.host), now=utc_now())
        files.write(AUTHORITY_KEY, following.key_pem)  # 2
        write_private(path, former)
        files.write(SERVER_KEY, fresh.key)
        write_private(platform.directory / SERVER_CERTIFICATE, fresh.certificate)
        for name in (_NEXT_AUTHORITY_KEY, _NEXT_AUTHORITY):  # 3
            (platform.directory / name).unlink()
    return certificate_sha256(following.certificate_pem).hex()


def rotate_assignment_key(platform: Platform) -> None:
    """Replace the key that decides who trains where, while no campaign is open that it has decided for.

    Raises:
        LocalProtocolError: with code KEY_IN_USE, if a campaign is open.
    """
    with open_ledger(platform, exclusively=True), platform.store.transaction() as transaction:
        if transaction.open_campaigns():
            raise LocalProtocolError("keys: expected no open campaign, got one: close it", code="KEY_IN_USE")
        secrets_of(platform.directory).write(ASSIGNMENT_KEY, secrets.token_bytes(32))


def _following_authority(platform: Platform) -> CertificateAuthority:
    """The one that an earlier attempt made, if both its parts are there, else a new one."""
    made, path = (
        secrets_of(platform.directory).read(_NEXT_AUTHORITY_KEY),
        platform.directory / _NEXT_AUTHORITY,
    )
    if made is not None and path.exists():
        return CertificateAuthority.from_pem(made.reveal(), path.read_bytes())
    authority = CertificateAuthority.create(name=platform.config.name, now=utc_now())
    secrets_of(platform.directory).write(_NEXT_AUTHORITY_KEY, authority.key_pem)
    write_private(path, authority.certificate_pem)
    return authority


def _first_certificate(chain: bytes) -> bytes:
    end = b"-----END CERTIFICATE-----\n"
    return chain.split(end)[0] + end


def _state(
    platform: Platform,
    ledger: LedgerStore,
    role: PlatformKey,
    current: SigningKey,
    following: SigningKey,
) -> None:
    old, new = (_stated(platform, role, key.public_key) for key in (current, following))
    body = {"key": role.value, "old": old, "new": new}
    body["possession"] = sign_change(following, party=PLATFORM, role=role, old=old, new=new, endorses=False)
    if role is PlatformKey.LOG:
        body["endorsement"] = sign_change(current, party=PLATFORM, role=role, old=old, new=new, endorses=True)
    service = LedgerService(ledger, platform.signing_key)
    service.append_platform_entry(EntryKind.PLATFORM_KEY_ROTATION, body)


def _stated(platform: Platform, role: PlatformKey, key: bytes) -> str:
    """The key as entries spell it."""
    return VerifierKey(platform.config.origin, key).to_text() if role is PlatformKey.LOG else key.hex()
