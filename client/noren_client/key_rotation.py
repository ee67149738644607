"""Changing one of this company's keys (docs/protocol.md §0.4).

Promises: the new key is made here, beside the old one, and takes its place only after the ledger is proven
to have the change; whatever is interrupted, by a crash or a lost answer, the same call completes, with the
same new key and the same entry. What was signed before stays valid.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from noren_client import keystore
from noren_client.ledger_watch import LedgerWatch
from noren_client.transport import PlatformClient
from noren_core.errors import ConfigurationError, VerificationError
from noren_core.ledger.entries import CompanyKey, EntryKind, parse_entry, sign_entry
from noren_core.ledger.key_history import sign_change

Sleep = Callable[[float], None]


def rotate(company_dir: Path, role: CompanyKey, *, sleep: Sleep = time.sleep) -> None:
    """Replace the key by a new one, or complete a replacement that was interrupted.

    1. If the ledger has the change and only the files were not swapped, swap them.
    2. Make the new key beside the old one, unless it is there from an earlier attempt.
    3. State the change, signed by the current signing key and, if it signs, by the new key.
    4. Send it; the ledger is proven to have exactly this change.
    5. For the TLS key, keep the certificate that came with the proof.
    6. Swap the files: the old key is gone.
    7. For the TLS key, say the same once more with the new certificate: from its first use on, the platform
       refuses the old one.

    Raises:
        RemoteProtocolError: with code KEY_IN_USE, for the signing or sealing key while a campaign that names
            this company relies on it; the old key stays.
        PlatformUnavailableError: if no answer came; the platform may have the change: call again.
    """
    if _is_proven(company_dir, role):  # 1
        keystore.swap(company_dir, role)
        return
    keystore.create_next(company_dir, role)  # 2
    entry = _signed_change(company_dir, role)  # 3
    certificate = _send(company_dir, role, entry, name=keystore.NEXT[role], sleep=sleep)  # 4
    if role is CompanyKey.TLS:  # 5
        company = keystore.load(company_dir).company
        keystore.save_certificate(company_dir, certificate, company=company, is_next=True)
    keystore.swap(company_dir, role)  # 6
    if role is CompanyKey.TLS:  # 7
        _send(company_dir, role, entry, name=keystore.CURRENT[role], sleep=sleep)


def _is_proven(company_dir: Path, role: CompanyKey) -> bool:
    """Whether an earlier call got as far as its swap."""
    if role is CompanyKey.TLS:
        return (keystore.directory(company_dir) / keystore.NEXT_CERTIFICATE).exists()
    following = keystore.read_secret(company_dir, keystore.NEXT[role])
    return following is not None and following == keystore.read_secret(company_dir, keystore.CURRENT[role])


def _signed_change(company_dir: Path, role: CompanyKey) -> bytes:
    """The entry; the same bytes whenever it is made of the same two keys."""
    keys = keystore.load(company_dir)
    old, new = (
        keystore.public_key(role, _secret(company_dir, names[role]))
        for names in (keystore.CURRENT, keystore.NEXT)
    )
    body = {"company": keys.company, "key": role.value, "old": old, "new": new}
    if role is CompanyKey.SIGNING:
        following = keystore.following_signing_key(company_dir)
        body["possession"] = sign_change(
            following, party=keys.company, role=role, old=old, new=new, endorses=False
        )
    return sign_entry(EntryKind.KEY_ROTATION, keys.company, body, keys.signing)


def _send(company_dir: Path, role: CompanyKey, entry: bytes, *, name: str, sleep: Sleep) -> bytes:
    """Send the change of the key that is kept under `name`; the certificate, once the proof holds."""
    watch, company = LedgerWatch(company_dir), keystore.load(company_dir).company
    request, node_key = b"", b""
    if role is CompanyKey.TLS:
        request = keystore.certificate_request(company_dir, company, name=name)
    if role is CompanyKey.NODE:
        node_key, _ = keystore.node_public_keys(company_dir, name=name)
    with PlatformClient(company_dir, sleep=sleep) as platform:
        proof, certificate = platform.rotate_key(
            entry, tls_request=request, node_key=node_key, known_tree_size=watch.known_tree_size
        )
    expected = parse_entry(entry)
    shown = watch.verify(proof)
    if not any((item.kind, item.body) == (expected.kind, expected.body) for item in shown):
        raise VerificationError("rotation: expected a proof that it is in the ledger, got none")
    return certificate


def _secret(company_dir: Path, name: str) -> bytes:
    secret = keystore.read_secret(company_dir, name)
    if secret is None:
        raise ConfigurationError(f"expected {name} in the company's directory, got none")
    return secret
