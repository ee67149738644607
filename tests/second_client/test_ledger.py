"""The second client reads the real ledger, and the platform reads what it wrote."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, NorenError
from noren_core.ledger.entries import (
    PLATFORM,
    CompanyKey,
    EntryKind,
    PlatformKey,
    countersign,
    parse_entry,
    sign_entry,
)
from noren_core.ledger.key_history import sign_change
from noren_core.season import messages as m
from noren_server import platform_files, platform_keys

from . import (
    RefusedError,
    ledger,
    ledger_proof,
    session,
    training,
)
from .conftest import KEYS, PUBLIC, US, Setting, enrolment_of


def rotation(old: Ed25519PrivateKey, new: Ed25519PrivateKey) -> bytes:
    """Our change of the signing key."""
    texts = [key.public_key().public_bytes_raw().hex() for key in (old, new)]
    statement = ledger_proof.agreement_statement("signing", texts[0], texts[1], US)
    possession = training.sign(new, "noren/v1/key-possession", statement).hex()
    body = {"company": US, "key": "signing", "old": texts[0], "new": texts[1], "possession": possession}
    return ledger.signed_entry(old, US, "key-rotation", body)


def sealing_rotation(key: Ed25519PrivateKey, new: str) -> bytes:
    """Our change of the sealing key, which cannot sign."""
    old = hashlib.sha256(f"{US} sealing_key".encode()).hexdigest()
    body = {"company": US, "key": "sealing", "old": old, "new": new}
    return ledger.signed_entry(key, US, "key-rotation", body)


def test_it_follows_the_ledger_through_changes_of_keys(setting: Setting) -> None:
    """Its own change, the platform's and the log's; for a company of the first day and for a new one."""
    early = setting.watch()
    early.read(setting.proof())
    new = Ed25519PrivateKey.generate()
    setting.say(rotation(KEYS[US], new))
    setting.say(sealing_rotation(new, "5e" * 32))
    early.own_key = new.public_key().public_bytes_raw().hex()
    known = early.checkpoint.size if early.checkpoint else 0
    early.read(setting.proof(known))
    with pytest.raises(RefusedError, match="our own key"):
        setting.watch().read(setting.proof())  # the old key is not ours any more

    setting.platform.store.close()
    setting.platform.ledger_store.close()
    for role in (PlatformKey.PLATFORM, PlatformKey.LOG, PlatformKey.PLATFORM):
        platform_keys.rotate(platform_files.Platform(setting.platform.directory), role)
    setting.platform = platform_files.Platform(setting.platform.directory)
    said = {"campaign": "c", "company": US, "plan_sha256": "ab" * 32}
    index = setting.say(ledger.signed_entry(new, US, "plan-acceptance", said))
    known = early.checkpoint.size if early.checkpoint else 0
    shown = early.read(setting.proof(known))
    assert shown[index].body == said
    platform = setting.platform
    late = {"platform": platform.signing_key.public_key.hex(), "log": platform.log_verifier_key.to_text()}
    assert ledger_proof.Watch(US, early.own_key, late).read(setting.proof())[index].body == said
    with pytest.raises(NorenError):
        setting.say(ledger.signed_entry(KEYS[US], US, "plan-acceptance", {**said, "campaign": "d"}))


def test_it_believes_no_other_ledger(setting: Setting) -> None:
    """A changed entry, place, path or checkpoint, another key, and a ledger that did not only grow."""
    honest, watch = setting.proof(), setting.watch()

    def changed(change: Any) -> Any:
        proof = session.wire.LedgerProof.FromString(honest.SerializeToString())
        change(proof)
        return proof

    def forge(proof: Any) -> None:
        proof.entries[3].entry = proof.entries[3].entry.replace(b"company-3", b"company-9")

    def resize(proof: Any) -> None:
        lines = proof.checkpoint.split(b"\n")
        proof.checkpoint = b"\n".join([lines[0], b"%d" % (int(lines[1]) + 1), *lines[2:]])

    lies = [
        (forge, "inclusion"),
        (lambda proof: setattr(proof.entries[3], "index", 99), "index"),
        (lambda proof: setattr(proof.entries[3], "index", 4), "each index once"),
        (lambda proof: proof.entries[3].inclusion.pop(), "inclusion"),
        (resize, "checkpoint signed"),
        (lambda proof: setattr(proof, "checkpoint", proof.checkpoint.replace(b"job", b"jib")), "origin"),
        (lambda proof: proof.consistency.append(bytes(32)), "only grows"),
    ]
    for lie, reason in lies:
        with pytest.raises(RefusedError, match=reason):
            watch.read(changed(lie))
    stranger = {**setting.anchors, "platform": "ab" * 32}
    with pytest.raises(RefusedError, match="countersign"):
        ledger_proof.Watch(US, PUBLIC[US].hex(), stranger).read(honest)
    assert watch.checkpoint is None
    watch.read(honest)
    setting.say(ledger.signed_entry(KEYS[US], US, "agreement", agreement_of(40)))
    assert watch.checkpoint is not None
    later = setting.proof(watch.checkpoint.size)
    watch.checkpoint = ledger_proof.Checkpoint(watch.checkpoint.size, bytes(32))
    with pytest.raises(RefusedError, match="only grows"):
        watch.read(later)


def agreement_of(size: int) -> dict[str, Any]:
    return {"company": US, "agreement_sha256": "cd" * 32, "declared_size": size}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (rotation(KEYS[US], KEYS["company-1"]), "no key twice"),
        (sealing_rotation(KEYS[US], PUBLIC["company-1"].hex()), "no key twice"),
        (sealing_rotation(KEYS["company-1"], "5e" * 32), "noren/v1/entry"),
        (rotation(KEYS["company-1"], Ed25519PrivateKey.from_private_bytes(b"n" * 32)), "noren/v1/entry"),
        (enrolment_of(US, attempt=" again"), "one enrolment"),
    ],
)
def test_it_takes_no_change_against_the_rules(setting: Setting, entry: bytes, reason: str) -> None:
    """Another party's key, another's signature, a second enrolment: both refuse, whoever countersigned."""
    with pytest.raises(NorenError):
        setting.platform.ledger.append_company_entry(parse_entry(entry))
    setting.platform.ledger_store.append_many([countersign(entry, setting.platform.signing_key)])
    with pytest.raises(RefusedError, match=reason):
        setting.watch().read(setting.proof())


def test_a_revoked_company_says_nothing_more(setting: Setting) -> None:
    """The platform refuses it; and a ledger that has such an entry is not believed."""
    setting.platform.ledger.append_platform_entry(
        EntryKind.REVOCATION, {"company": "company-1", "reason": "LEFT"}
    )
    watch = setting.watch()
    watch.read(setting.proof())
    said = {"company": "company-1", "agreement_sha256": "cd" * 32, "declared_size": 40}
    entry = ledger.signed_entry(KEYS["company-1"], "company-1", "agreement", said)
    with pytest.raises(NorenError):
        setting.say(entry)
    setting.platform.ledger_store.append_many([countersign(entry, setting.platform.signing_key)])
    with pytest.raises(RefusedError, match="revoked"):
        watch.read(setting.proof(watch.checkpoint.size if watch.checkpoint else 0))


def test_a_revocation_is_the_end(setting: Setting) -> None:
    """No change of a key follows it, and no other revocation, whatever the platform appends."""
    body, key = {"company": US, "reason": "LEFT"}, setting.platform.signing_key
    setting.platform.ledger.append_platform_entry(EntryKind.REVOCATION, body)
    watch, size = setting.watch(), setting.platform.ledger_store.size
    watch.read(setting.proof())
    change = sealing_rotation(KEYS[US], "5e" * 32)
    again = sign_entry("revocation", PLATFORM, body | {"reason": "MISTAKEN_ENROLMENT"}, key)
    for place, entry in enumerate((change, again)):
        with pytest.raises(NorenError):
            setting.platform.ledger.append_company_entry(parse_entry(entry))
        setting.platform.ledger_store.append_many([countersign(entry, key)])
        indices = [*range(size), size + place]
        proof = setting.platform.ledger.prove(known_tree_size=size, indices=indices)
        with pytest.raises(RefusedError, match="revoked"):
            watch.read(m.proof_to_wire(proof))


def test_a_platform_key_is_replaced_with_its_own_consent(setting: Setting) -> None:
    """A rotation of the platform's key whose new key did not sign is not believed."""
    old = setting.anchors["platform"]
    body = {"key": "platform", "old": old, "new": PUBLIC[US].hex(), "possession": "00" * 64}
    key = setting.platform.signing_key
    signed = sign_entry("platform-key-rotation", PLATFORM, body, key)
    setting.platform.ledger_store.append_many([countersign(signed, key)])
    with pytest.raises(RefusedError, match="key-possession"):
        setting.watch().read(setting.proof())


@pytest.mark.parametrize(
    "value",
    [
        {"b": 1, "a": [True, '\u00e9\n\t\x01\u2028"\\/\x7f\U0001f600'], "é": {}, "Z": -(2**63) + 1},
        [[[[[[[[1]]]]]]]],
        "plain",
    ],
)
def test_both_spell_a_value_alike(value: Any) -> None:
    """Canonical JSON: order, escapes, range and depth."""
    assert ledger.canonical(value) == canonical_json.encode(value)
    assert ledger.parse(canonical_json.encode(value)) == value


@pytest.mark.parametrize("value", [2**63, -(2**63), [[[[[[[[[1]]]]]]]]], 1.0, None])
def test_both_refuse_a_value(value: Any) -> None:
    """Beyond range and depth, and of other types."""
    with pytest.raises(RefusedError):
        ledger.canonical(value)
    with pytest.raises(DataError):
        canonical_json.encode(value)


def test_ours_reads_its_change_of_key() -> None:
    """The possession that it signs is, byte for byte, the one that our client would sign."""
    new = Ed25519PrivateKey.from_private_bytes(b"n" * 32)
    body = parse_entry(rotation(KEYS[US], new)).body
    ours = SigningKey.from_bytes(b"n" * 32)
    expected = sign_change(
        ours, party=US, role=CompanyKey.SIGNING, old=body["old"], new=body["new"], endorses=False
    )
    assert body["possession"] == expected
