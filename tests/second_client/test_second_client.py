"""The second client against the platform's own code: docs/protocol.md says enough to write one."""

from __future__ import annotations

import ast
import secrets
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from noren_core.crypto.head_encryption import HeadLayout, verify_head
from noren_core.crypto.scorer import Scorer
from noren_core.errors import VerificationError
from noren_core.ids import IdentifierKind, TableKind, normalise_identifier
from noren_core.ledger.entries import parse_entry
from noren_core.rights.gate.decision_batch import SealedBatch, verify_complete, verify_evaluation
from noren_core.season import messages as m
from noren_core.season.head_message import head_binding, head_layout
from noren_server import alignment as platform_alignment
from noren_server.enrolment import CompanyRequest
from noren_server.gate import Gate
from noren_server.revocation import Revocations
from noren_server.sealed_scoring import ScoreRows, SealedScoring
from noren_server.tables import TablePublisher

from . import (
    RefusedError,
    alignment,
    encrypted_head,
    enrolment,
    gate,
    ledger,
    ledger_proof,
    session,
)
from . import sealed_table as plain_table
from .conftest import KEYS, US, Setting

NOW = 1_800_000_000
CODES = [f"CODE-{number}" for number in range(6)]
POSITION = "clerk"
STUDENTS = [alignment.prepare("consent-code", code, POSITION) for code in CODES]
ADDRESSES = [bytes([number]) * 48 for number in range(len(CODES))]


def test_it_is_written_from_the_document() -> None:
    """Beside the standard library it imports cryptography, numpy, and the generated messages alone."""
    imported = set[str]()
    for path in Path(__file__).parent.glob("*.py"):
        if path.name.startswith("test_") or path.name == "conftest.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module or "")
    others = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name for name in others if name.split(".")[0] not in {"cryptography", "numpy"}} == {
        "noren_core.wire.v1"
    }


def oprf_key_of(setting: Setting, kind: str = "train") -> bytes:
    """Our OPRF key of that kind as the proven ledger has it."""
    entries = setting.watch().read(setting.proof()).values()
    ours = [e.body for e in entries if e.kind == "oprf-key" and e.body["company"] == US]
    keys = [body["public_key"] for body in ours if body["kind"] == kind]
    assert len(keys) == 1
    return bytes.fromhex(keys[0])


def outputs_of(setting: Setting, identifiers: Collection[bytes]) -> dict[bytes, bytes]:
    batch = alignment.begin(list(identifiers), setting.plan.member(US).padded_batch)
    evaluated, proof = platform_alignment.evaluate_batch(
        setting.platform.store, setting.plan, US, TableKind.TRAIN, batch.blinded
    )
    return alignment.finish(batch, evaluated, proof, oprf_key_of(setting))


# Enrolment


def test_it_enrols(setting: Setting) -> None:
    """With the invitation alone: the request is taken, the fingerprint is the same, the proof is enough."""
    desk = setting.platform.enrolment
    invitation = enrolment.read_invitation(desk.invite("company-6").content)
    keys = enrolment.Keys()
    sent = enrolment.request(keys, invitation, declared_size=40)
    asked = CompanyRequest(sent.enrolment_entry, sent.agreement_entry, sent.tls_request, sent.node_key)
    seen = desk.request(sent.code, asked, address="192.0.2.1")
    public = keys.signing.public_key().public_bytes_raw()
    assert seen == enrolment.fingerprint(public)
    collect = enrolment.collect(keys)
    assert desk.collect(collect.signing_key, collect.signature) is None
    desk.approve("company-6", seen)
    certified = desk.collect(collect.signing_key, collect.signature)
    assert certified is not None
    proof = m.proof_to_wire(certified.proof)
    reply = enrolment.wire.CollectReply(approved=True, certificate=certified.certificate, proof=proof)
    anchors = {"platform": invitation["platform_key"], "log": invitation["log_key"]}
    watch = ledger_proof.Watch("company-6", public.hex(), anchors)
    other = enrolment.request(keys, invitation, declared_size=41)
    with pytest.raises(RefusedError, match="both our entries"):
        enrolment.accept(watch, other, reply)
    assert enrolment.accept(watch, sent, reply) == certified.certificate


# Identifiers


@pytest.mark.parametrize(
    "text", ["ABC-1", "  Straße\u3000", "ﬁx@Example.ORG", "\u1e9e\x1f", "ΑΣ ος", "e\u0301"]
)
def test_it_spells_identifiers_as_we_do(text: str) -> None:
    """Normalisation gives the same bytes for the same person."""
    for kind in IdentifierKind:
        for position in ("clerk", "r-and-d"):
            expected = normalise_identifier(kind, text, position)
            assert alignment.prepare(kind.value, text, position) == expected


def test_it_learns_the_platforms_function_at_its_identifiers(setting: Setting) -> None:
    """Outputs are those that the platform seals for; a batch under another key is refused."""
    key = platform_alignment.oprf_key(setting.platform.store, setting.plan.campaign, US, TableKind.TRAIN)
    asked = STUDENTS[:3]
    expected = dict(zip(asked, platform_alignment.evaluate_identifiers(key, asked), strict=True))
    assert outputs_of(setting, asked) == expected


def test_it_refuses_answers_that_are_not_proved(setting: Setting) -> None:
    """Another order, another key, or another batch's proof does not verify."""
    store, plan, public = setting.platform.store, setting.plan, oprf_key_of(setting)
    batch = alignment.begin(STUDENTS[:1], plan.member(US).padded_batch)
    evaluated, proof = platform_alignment.evaluate_batch(store, plan, US, TableKind.TRAIN, batch.blinded)
    alignment.verify_proof(public, batch.blinded, evaluated, proof)
    swapped = [evaluated[1], evaluated[0], *evaluated[2:]]
    others = [
        platform_alignment.oprf_key(store, plan.campaign, "company-1", TableKind.TRAIN).public_key,
        oprf_key_of(setting, "score"),
    ]
    bad = [(swapped, proof, public), (evaluated, proof[32:] + proof[:32], public)]
    bad += [(evaluated, proof, other) for other in others]
    for answer, its_proof, its_key in bad:
        with pytest.raises(RefusedError):
            alignment.finish(batch, answer, its_proof, its_key)


# Tables


@dataclass
class Published:
    """A table of the platform's, and how the second client gets at it."""

    setting: Setting
    kind: TableKind
    payload_bytes: int
    publisher: TablePublisher = field(init=False)

    def __post_init__(self) -> None:
        platform = self.setting.platform
        directory = platform.directory / "tables"
        self.publisher = TablePublisher(platform.store, platform.ledger, directory, chunk_rows=24)

    def publish(self, payloads: Mapping[bytes, bytes]) -> None:
        plan, platform = self.setting.plan, self.setting.platform
        key = platform_alignment.oprf_key(platform.store, plan.campaign, US, self.kind)
        rows = zip(
            platform_alignment.evaluate_identifiers(key, list(payloads)), payloads.values(), strict=True
        )
        size = self.payload_bytes
        self.publisher.publish(plan, US, self.kind, rows, count=len(payloads), payload_bytes=size)

    @property
    def manifest(self) -> plain_table.Manifest:
        """Of the newest table in the proven ledger."""
        entries = self.setting.watch().read(self.setting.proof()).values()
        [*_, newest] = [entry.body for entry in entries if entry.kind == "table"]
        campaign, kind = self.setting.plan.campaign, self.kind.value
        return plain_table.read_manifest(newest["manifest"], US, campaign, kind, self.payload_bytes)

    def parts(self) -> tuple[tuple[bytes, ...], list[bytes]]:
        table = self.publisher.table(self.setting.plan.campaign, US, self.kind)
        assert table is not None
        return table.chunk_hashes, [chunk for _, chunk in self.publisher.chunks(table, 0)]

    def revocations(self, withdrawn: list[bytes]) -> tuple[bytes, bytes]:
        platform, plan = self.setting.platform, self.setting.plan
        table = self.publisher.table(plan.campaign, US, self.kind)
        assert table is not None
        source = lambda *_: withdrawn  # noqa: E731
        return Revocations(platform.store, self.publisher, platform.signing_key, source).newest(plan, table)


def test_it_reads_a_sealed_table(setting: Setting) -> None:
    """It opens its own rows, drops the one that is revoked, and takes nothing that was changed."""
    table = Published(setting, TableKind.TRAIN, 2 * setting.plan.rows.dimensions)
    payloads = {student: secrets.token_bytes(table.payload_bytes) for student in STUDENTS}
    table.publish(payloads)
    outputs = outputs_of(setting, STUDENTS[:3])
    manifest, (hashes, chunks) = table.manifest, table.parts()
    tags = {plain_table.row_key(manifest, output)[0]: student for student, output in outputs.items()}
    opened = plain_table.read_table(manifest, hashes, chunks, outputs.values())
    assert {tags[tag]: payload for tag, payload in opened.items()} == {s: payloads[s] for s in STUDENTS[:3]}

    platform_key = bytes.fromhex(setting.anchors["platform"])
    first, withdrawn = table.revocations([]), table.revocations([STUDENTS[1]])
    sequence, revoked = plain_table.read_revocations(manifest.table_id, platform_key, *first)
    assert (sequence, plain_table.not_revoked(opened, revoked)) == (1, opened)
    sequence, revoked = plain_table.read_revocations(manifest.table_id, platform_key, *withdrawn)
    left = plain_table.not_revoked(opened, revoked)
    assert (sequence, {tags[tag] for tag in left}) == (2, {STUDENTS[0], STUDENTS[2]})
    with pytest.raises(RefusedError):
        plain_table.read_revocations(manifest.table_id, platform_key, withdrawn[0], first[1])

    changed = bytes([chunks[0][40] ^ 1])
    damaged = [chunks[0][:40] + changed + chunks[0][41:], *chunks[1:]]
    for bad in (damaged, chunks[:-1], [*chunks, chunks[-1]], chunks[::-1]):
        with pytest.raises(RefusedError):
            plain_table.read_table(manifest, hashes, bad, outputs.values())
    with pytest.raises(RefusedError, match="root"):
        plain_table.read_table(manifest, hashes[::-1], chunks, outputs.values())
    unsorted = [plain_table.leaf_hash(chunk) for chunk in reversed(chunks[:-1])]
    unsorted.append(hashes[-1])
    other = replace(manifest, root=plain_table.tree_root(unsorted))
    with pytest.raises(RefusedError, match="increasing tags"):
        plain_table.read_table(other, unsorted, [*chunks[-2::-1], chunks[-1]], outputs.values())


# Gate


def gated_outputs(setting: Setting, decisions: Mapping[bytes, str]) -> dict[bytes, bytes]:
    """Outputs of the offers under the score key, through a decision batch and the platform's gate."""
    plan, platform = setting.plan, setting.platform
    batch = gate.seal(decisions, POSITION, plan.to_body(), plan.member(US).padded_batch)
    said = batch.body(plan.campaign, US, sequence=1, sealed_at=NOW)
    entry = parse_entry(ledger.signed_entry(KEYS[US], US, "decision-batch", said))
    platform.ledger.verify_author(entry)
    index = platform_gate(setting).accept_batch(plan, entry)
    answer = platform_gate(setting).evaluate(plan, US, decision_batch=index, blinded=batch.evaluation.blinded)
    gate.verify_opening(setting.watch().read(setting.proof()), said, plan.gate.cooling_seconds)
    gate.verify_premises(batch, said, decisions)
    sealed = SealedBatch.from_bytes(batch.exported())
    assert sealed.root == batch.root
    verify_complete([sealed], decisions.keys())
    verify_evaluation(batch.opened_blinds(), sealed, evaluation=batch.evaluation_sha256)
    return alignment.finish(batch.evaluation, answer.evaluated, answer.proof, oprf_key_of(setting, "score"))


def platform_gate(setting: Setting) -> Gate:
    platform = setting.platform
    agreed = {"company": US, "agreement_sha256": "ab" * 32, "declared_size": 40}
    setting.say(ledger.signed_entry(KEYS[US], US, "agreement", agreed))
    return Gate(
        platform.store,
        platform.ledger,
        clock=lambda: NOW,
        is_running=lambda *_: True,
        is_covered=lambda _: True,
    )


def test_it_passes_the_gate(setting: Setting) -> None:
    """Its batch is one that the platform appends and our auditor's check verifies; only offers are opened."""
    decisions = dict.fromkeys(STUDENTS, "fail") | dict.fromkeys(STUDENTS[:2], "pass")
    outputs = gated_outputs(setting, decisions)
    key = platform_alignment.oprf_key(setting.platform.store, setting.plan.campaign, US, TableKind.SCORE)
    expected = platform_alignment.evaluate_identifiers(key, STUDENTS[:2])
    assert outputs == dict(zip(STUDENTS[:2], expected, strict=True))


def test_what_was_evaluated_for_training_opens_no_score_row(setting: Setting) -> None:
    """The outputs of the two keys are different for the same applicant."""
    decisions = dict.fromkeys(STUDENTS, "pass")
    assert not set(outputs_of(setting, STUDENTS).values()) & set(gated_outputs(setting, decisions).values())


# Scoring


def test_its_scores_are_exact(setting: Setting) -> None:
    """Its heads and proof pass the platform's verification, and w·h comes back through a sealed table."""
    plan, rng = setting.plan, np.random.default_rng(7)
    weights = [int(weight) for weight in rng.integers(-128, 128, plan.rows.dimensions)]
    heads = encrypted_head.encrypt([weights], 8, session.plan_digest(plan.to_body()), US)
    features = rng.integers(-128, 128, (len(STUDENTS), plan.rows.dimensions)).astype(np.int8)
    features[0], features[1] = -128, 0
    table = Published(setting, TableKind.SCORE, 66 + 48)
    platform, rows = setting.platform, ScoreRows(STUDENTS, features, ADDRESSES)
    scoring = SealedScoring(platform.store, platform.ledger, table.publisher, lambda *_: rows)
    sizes = {"dimensions": plan.rows.dimensions, "heads": 1, "weight_bits": 8}
    said = {"campaign": plan.campaign, "company": US, "commitment": heads.commitment, **sizes}
    entry = parse_entry(ledger.signed_entry(KEYS[US], US, "head-commitment", said))
    scoring.accept_head(plan, US, heads.message, entry)
    outputs = gated_outputs(setting, dict.fromkeys(STUDENTS, "pass"))
    scoring.close()
    scoring.publish_score_table(plan, US)

    manifest, (hashes, chunks) = table.manifest, table.parts()
    opened = plain_table.read_table(manifest, hashes, chunks, outputs.values())
    reader = encrypted_head.ScoreReader(heads)
    for student, row, address in zip(STUDENTS, features.tolist(), ADDRESSES, strict=True):
        tag, _ = plain_table.row_key(manifest, outputs[student])
        ciphertexts, disclosure_key, mailbox = gate.take_apart(opened[tag], 1)
        assert disclosure_key + mailbox == address
        assert reader.scores(ciphertexts) == [sum(w * h for w, h in zip(weights, row, strict=True))]


def test_it_encrypts_several_heads_of_twelve_bits() -> None:
    """Heads, weights and bits lie in the order of the document."""
    rng = np.random.default_rng(8)
    weights = rng.integers(-2048, 2048, (2, 3))
    weights[0, 0], weights[1, 2] = -2048, 2047
    digest = bytes(range(32))
    heads = encrypted_head.encrypt(weights.tolist(), 12, digest, US)
    layout = HeadLayout(dimensions=3, weight_bits=12, heads=2)
    verified = verify_head(heads.message, layout, binding=b"noren/v1/head\0" + digest + US.encode())
    features = rng.integers(-128, 128, (2, 3)).astype(np.int8)
    reader = encrypted_head.ScoreReader(heads)
    scores = [reader.scores(payload) for payload in Scorer(verified).score(features)]
    assert scores == (features.astype(int) @ weights.T).tolist()


def test_its_proof_is_for_one_company(setting: Setting) -> None:
    """The same message in another company's name, or for another plan, is not verified."""
    plan = setting.plan
    heads = encrypted_head.encrypt([[1] * 4], 8, session.plan_digest(plan.to_body()), US)
    other = encrypted_head.encrypt([[1] * 4], 8, bytes(32), US)
    for message, company in ((heads.message, "company-1"), (other.message, US)):
        with pytest.raises(VerificationError):
            verify_head(message, head_layout(plan), binding=head_binding(plan, company))
