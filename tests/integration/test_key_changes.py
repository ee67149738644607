"""Changing and ending keys, with a real company and a real platform over gRPC on loopback."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from noren_audit.verification.trust import Trust, load_trust
from noren_audit.verification.verify import verify_bundle
from noren_client import alignment, campaign_files, enrolment, key_rotation, keystore
from noren_client.company_secrets import secrets_of
from noren_client.ledger_watch import LedgerWatch
from noren_client.transport import PlatformClient, PlatformUnavailableError
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.vault import is_sealed
from noren_core.errors import (
    ConfigurationError,
    LocalProtocolError,
    NorenError,
    RemoteProtocolError,
    VerificationError,
)
from noren_core.ids import TableKind
from noren_core.ledger.entries import (
    CompanyKey,
    EntryKind,
    PlatformKey,
    RevocationReason,
    parse_entry,
    sign_entry,
)
from noren_core.ledger.key_history import KeyFault, KeyHistoryError
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal
from noren_local.private_file import write_private
from noren_server import campaigns, platform_files, platform_keys
from noren_server.alignment import publish_oprf_keys
from noren_server.certificates import certificate_sha256
from noren_server.platform_files import Platform
from noren_server.services import online_services
from noren_server.store import CompanyState

CAMPAIGN = "spring-2026"
COMPANIES = ("alpha", "bravo", "charlie")
PINNED = (CompanyKey.SIGNING, CompanyKey.SEALING)


def no_pause(_: float) -> None:
    """Tests never wait between attempts."""


class Fleet:
    """Takes the place of Flower's SuperLink and remembers who is registered."""

    nodes: dict[str, bytes]

    def __init__(self, _: Path) -> None:
        """Nothing is connected."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def register(self, company: str, node_key: bytes) -> None:
        self.nodes[company] = node_key


class World:
    """A platform, its running services, and its companies' directories."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.platform = Platform(root / "platform")
        self._running = ExitStack()

    def start(self) -> None:
        self.platform = Platform(self.root / "platform")
        self._running.enter_context(online_services(self.platform))

    def stop(self) -> None:
        self._running.close()
        self.platform.store.close()
        self.platform.ledger_store.close()
        self.platform = Platform(self.root / "platform")

    @contextmanager
    def stopped(self) -> Iterator[Platform]:
        """The services stopped; whoever changes keys starts from a platform that nobody else has open."""
        self.stop()
        yield self.platform
        self.start()

    def company(self, name: str) -> Path:
        return self.root / name

    def enrol(self, name: str) -> None:
        invitation = self.root / f"{name}.invitation"
        invitation.write_bytes(self.platform.enrolment.invite(name).content)
        fingerprint = enrolment.enrol(invitation, self.company(name), 40, sleep=no_pause)
        self.platform.enrolment.approve(name, fingerprint)
        enrolment.collect(self.company(name), sleep=no_pause)

    def rotate(self, name: str, role: CompanyKey) -> None:
        key_rotation.rotate(self.company(name), role, sleep=no_pause)

    def rotations(self) -> list[dict[str, Any]]:
        """The bodies of all changes of companies' keys."""
        found = self.platform.ledger_store.entries(kind=EntryKind.KEY_ROTATION)
        return [stored.entry.body for stored in found]

    def current(self, name: str, role: CompanyKey) -> str:
        """The key that the ledger says is the company's."""
        ledger = self.platform.ledger
        return ledger.keys().key_at(name, role, ledger.store.size)

    def held(self, name: str, role: CompanyKey) -> str:
        """The key that the company holds."""
        secret = keystore.read_secret(self.company(name), keystore.CURRENT[role])
        assert secret is not None
        return keystore.public_key(role, secret)

    def publish(self, plan: CampaignPlan) -> None:
        with self.platform.store.transaction() as transaction:
            transaction.add_campaign(plan)
            self.platform.ledger.append_platform_entry(EntryKind.PLAN, plan.to_body())

    def audit(self, trust: str) -> set[str]:
        """What an auditor finds with this trust file."""
        place = self.root / f"audit-{len(list(self.root.iterdir()))}"
        place.mkdir()
        (place / "trust.toml").write_text(trust)
        self.platform.ledger_store.export(place / "bundle")
        parsed: Trust = load_trust(place / "trust.toml")
        return {finding.code.value for finding in verify_bundle(place / "bundle", parsed).findings}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Alpha and bravo have enrolled."""
    monkeypatch.setattr("noren_server.services.Fleet", Fleet)
    Fleet.nodes = {}
    ports = (0, 0, 0, 0)
    made = platform_files.initialise(tmp_path / "platform", name="job-site", host="127.0.0.1", ports=ports)
    made.ledger_store.close()
    made.store.close()
    opened = World(tmp_path)
    opened.start()
    for company in ("alpha", "bravo"):
        opened.enrol(company)
    yield opened
    opened.stop()


@pytest.fixture
def plan(plan_body: dict[str, Any]) -> CampaignPlan:
    """A plan for three companies with the bundle that invitations pin."""
    plan_body["cohort"] = [{"company": c, "padded_batch": 64, "evaluations": 128} for c in COMPANIES]
    plan_body |= {"minimum_cohort": 3, "threshold": 3, "bundle_sha256": platform_files.bundle_sha256()}
    return CampaignPlan.from_body(plan_body)


def accept(world: World, company: str) -> None:
    alignment.accept_plan(world.company(company), CAMPAIGN, sleep=no_pause)


# Companies' keys


def test_every_key_of_a_company_changes(world: World, plan: CampaignPlan) -> None:
    """The ledger, the platform and the company agree on each new key, and a plan relies on them."""
    world.enrol("charlie")
    before = {role: world.held("alpha", role) for role in CompanyKey}
    trust = platform_files.trust_file(world.platform)
    for role in CompanyKey:
        world.rotate("alpha", role)
        assert world.held("alpha", role) == world.current("alpha", role) != before[role]
    assert [(body["key"], body["old"]) for body in world.rotations()] == [
        (r.value, before[r]) for r in CompanyKey
    ]
    assert {path.name for path in (world.company("alpha") / "keys").iterdir()} == {
        *(f"{role}.key" for role in CompanyKey),
        "tls.pem",
    }
    pem, _ = keystore.node_public_keys(world.company("alpha"))
    assert Fleet.nodes == {"alpha": pem}
    world.publish(plan)
    for company in COMPANIES:
        accept(world, company)
    signing, sealing = campaign_files.load_roster(world.company("bravo"), CAMPAIGN)
    assert signing["alpha"].hex() == world.held("alpha", CompanyKey.SIGNING)
    assert sealing["alpha"].hex() == world.held("alpha", CompanyKey.SEALING)
    assert world.platform.signing_keys(["alpha"]) == {"alpha": signing["alpha"]}
    assert world.audit(trust) == set()


class Crash(BaseException):
    """The power goes."""


def crash_points(patch: pytest.MonkeyPatch, *, at: int) -> list[str]:
    """Let the `at`-th of the steps that leave a trace be the last one; the names of those that were done."""
    done: list[str] = []

    def watched(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            answer = step(*args, **kwargs)
            done.append(name)
            if len(done) == at:
                raise Crash
            return answer

        return run

    for owner, name in (
        (keystore, "write_secret"),
        (keystore, "write_private"),
        (LedgerWatch, "verify"),
        (PlatformClient, "rotate_key"),
        (Path, "unlink"),
    ):
        patch.setattr(owner, name, watched(name, getattr(owner, name)))
    return done


@pytest.mark.parametrize("role", CompanyKey)
def test_a_change_completes_after_a_crash_anywhere(
    role: CompanyKey, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the power goes, the same command completes the one change, and the company is let in."""
    crashes = 0
    while True:
        changes = len(world.rotations())
        with monkeypatch.context() as patch:
            crash_points(patch, at=crashes + 1)
            try:
                world.rotate("alpha", role)
                break
            except Crash:
                crashes += 1
        if len(world.rotations()) == changes or list((world.company("alpha") / "keys").glob("*next*")):
            world.rotate("alpha", role)  # else the power went when all was done
        assert len(world.rotations()) == changes + 1
        assert world.held("alpha", role) == world.current("alpha", role)
        assert not list((world.company("alpha") / "keys").glob("*next*"))
        world.rotate("bravo", CompanyKey.SEALING)  # the ledger moves on
    assert crashes >= 5
    world.rotate("alpha", CompanyKey.NODE)


def test_a_change_completes_under_a_signing_key_that_changed_meanwhile(world: World) -> None:
    """The change is what was agreed, not who signs the request for it again."""
    directory = world.company("alpha")
    keystore.create_next(directory, CompanyKey.SEALING)
    entry = key_rotation._signed_change(directory, CompanyKey.SEALING)
    name = keystore.NEXT[CompanyKey.SEALING]
    key_rotation._send(directory, CompanyKey.SEALING, entry, name=name, sleep=no_pause)
    world.rotate("alpha", CompanyKey.SIGNING)
    world.rotate("alpha", CompanyKey.SEALING)
    assert [body["key"] for body in world.rotations()] == ["sealing", "signing"]
    assert world.held("alpha", CompanyKey.SEALING) == world.current("alpha", CompanyKey.SEALING)


def test_a_protected_company_changes_its_keys(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a passphrase the new keys are sealed, too."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_bytes(b"correct horse battery")
    passphrase.chmod(0o600)
    monkeypatch.setenv("NOREN_PASSPHRASE_FILE", str(passphrase))
    secrets_of(world.company("alpha")).protect(SecretBytes(passphrase.read_bytes()))
    for role in CompanyKey:
        world.rotate("alpha", role)
        assert world.held("alpha", role) == world.current("alpha", role)
        assert is_sealed((world.company("alpha") / keystore.CURRENT[role]).read_bytes())


def test_the_old_certificate_is_refused_once_the_new_one_was_used(world: World) -> None:
    """Until the company has shown its new certificate both let it in; then only the new one does."""
    directory = world.company("alpha")
    old = keystore.read_secret(directory, keystore.TLS_KEY), (directory / "keys" / "tls.pem").read_bytes()
    keystore.create_next(directory, CompanyKey.TLS)
    entry = key_rotation._signed_change(directory, CompanyKey.TLS)
    name = keystore.NEXT[CompanyKey.TLS]
    first = key_rotation._send(directory, CompanyKey.TLS, entry, name=name, sleep=no_pause)
    again = key_rotation._send(directory, CompanyKey.TLS, entry, name=name, sleep=no_pause)
    assert first == again != old[1]
    world.rotate("alpha", CompanyKey.TLS)
    assert len(world.rotations()) == 1
    (directory / "keys" / "tls.pem").write_bytes(old[1])
    keystore.write_secret(directory, keystore.TLS_KEY, old[0] or b"")
    with pytest.raises(RemoteProtocolError) as caught:
        world.rotate("alpha", CompanyKey.NODE)
    assert caught.value.code == Refusal.CERTIFICATE_REFUSED


def test_a_key_without_its_certificate_names_the_command_that_mends_it(world: World) -> None:
    """Between the two files of a TLS change no connection is tried."""
    directory = world.company("alpha")
    keystore.create_next(directory, CompanyKey.TLS)
    following = keystore.read_secret(directory, keystore.NEXT[CompanyKey.TLS])
    keystore.write_secret(directory, keystore.TLS_KEY, following or b"")
    with pytest.raises(ConfigurationError) as caught:
        PlatformClient(directory, sleep=no_pause)
    assert caught.value.code == "KEY_ROTATION_UNFINISHED"


def test_keys_that_a_campaign_relies_on_do_not_change(world: World, plan: CampaignPlan) -> None:
    """From the plan to the company's last settle, or to the close, signing and sealing key stay."""
    world.enrol("charlie")
    world.publish(plan)
    for role in PINNED:
        with pytest.raises(RemoteProtocolError) as caught:
            world.rotate("alpha", role)
        assert caught.value.code == Refusal.KEY_IN_USE
    world.rotate("alpha", CompanyKey.TLS)
    world.rotate("alpha", CompanyKey.NODE)
    accept(world, "alpha")
    settle(world, plan, "alpha")
    world.rotate("alpha", CompanyKey.SEALING)
    with pytest.raises(RemoteProtocolError):
        world.rotate("bravo", CompanyKey.SIGNING)
    campaigns.close(world.platform, CAMPAIGN)
    world.rotate("bravo", CompanyKey.SIGNING)
    world.rotate("alpha", CompanyKey.SIGNING)


def settle(world: World, plan: CampaignPlan, company: str) -> None:
    """The company settles the last round."""
    body = {
        "campaign": plan.campaign,
        "company": company,
        "round": plan.training.rounds,
        "survivors": list(COMPANIES),
        "sentinels": [0] * plan.training.sentinels,
        **dict.fromkeys(("update_sha256", "consents", "model_in", "model_out"), "00" * 32),
    }
    signed = sign_entry(EntryKind.SETTLE, company, body, keystore.load(world.company(company)).signing)
    world.platform.ledger.append_company_entry(parse_entry(signed))


def sent(world: World, caller: str, entry: bytes) -> str:
    """What the platform makes of this request of that company: `done`, or the code of its refusal."""
    with PlatformClient(world.company(caller), sleep=no_pause) as platform:
        try:
            platform.rotate_key(entry, tls_request=b"", node_key=b"", known_tree_size=0)
        except NorenError as error:
            return error.code
    return "done"


def sealing_change(world: World, company: str, new: str, *, signer: SigningKey | None = None) -> bytes:
    key = signer or keystore.load(world.company(company)).signing
    body = {
        "company": company,
        "key": "sealing",
        "old": world.current(company, CompanyKey.SEALING),
        "new": new,
    }
    return sign_entry(EntryKind.KEY_ROTATION, company, body, key)


def test_a_replayed_change_is_the_same_change(world: World) -> None:
    """Again after a lost answer it adds nothing; after a later change it is refused and changes nothing."""
    entry = sealing_change(world, "alpha", "17" * 32)
    size = world.platform.ledger_store.size
    assert [sent(world, "alpha", entry) for _ in range(3)] == ["done"] * 3
    assert world.platform.ledger_store.size == size + 1
    assert sent(world, "alpha", sealing_change(world, "alpha", "18" * 32)) == "done"
    assert sent(world, "alpha", entry) == Refusal.KEY_NOT_CURRENT
    with world.platform.store.transaction() as transaction:
        company = transaction.company("alpha")
    assert company is not None
    assert company.sealing_key.hex() == "18" * 32


def test_nobody_changes_anothers_key_or_takes_a_used_one(world: World) -> None:
    """Another company's entry, a stranger's signature, and every key that the ledger knows are refused."""
    size = world.platform.ledger_store.size
    fresh = "17" * 32
    stranger = SigningKey.generate()
    assert sent(world, "bravo", sealing_change(world, "alpha", fresh)) == Refusal.PROTOCOL_VIOLATION
    assert (
        sent(world, "alpha", sealing_change(world, "alpha", fresh, signer=stranger)) == Refusal.NOT_VERIFIED
    )
    taken = [world.current("bravo", role) for role in CompanyKey]
    taken.append(world.current("alpha", CompanyKey.SIGNING))
    taken.append(world.platform.signing_key.public_key.hex())
    for key in taken:
        assert sent(world, "alpha", sealing_change(world, "alpha", key)) == Refusal.KEY_TAKEN
    assert world.platform.ledger_store.size == size


def test_a_retired_signing_key_signs_nothing_more(world: World, plan: CampaignPlan) -> None:
    """Who kept a company's old key can neither accept a plan for it nor change its keys."""
    old = keystore.load(world.company("alpha")).signing
    world.rotate("alpha", CompanyKey.SIGNING)
    assert sent(world, "alpha", sealing_change(world, "alpha", "17" * 32, signer=old)) == Refusal.NOT_VERIFIED
    world.enrol("charlie")
    world.publish(plan)
    body = {"campaign": CAMPAIGN, "company": "alpha", "plan_sha256": plan.digest().hex()}
    entry = sign_entry(EntryKind.PLAN_ACCEPTANCE, "alpha", body, old)
    client = PlatformClient(world.company("alpha"), sleep=no_pause)
    with client as platform, pytest.raises(RemoteProtocolError) as caught:
        platform.append(entry, known_tree_size=0)
    assert caught.value.code == Refusal.NOT_VERIFIED


def test_a_company_is_not_enrolled_with_anothers_key(world: World) -> None:
    """Whoever asks with a key that the ledger knows is not approved, and nothing changes."""
    invitation = world.root / "charlie.invitation"
    invitation.write_bytes(world.platform.enrolment.invite("charlie").content)
    keys = world.company("charlie") / "keys"
    keys.mkdir(mode=0o700, parents=True)
    (keys / "sealing.key").write_bytes((world.company("bravo") / "keys" / "sealing.key").read_bytes())
    (keys / "sealing.key").chmod(0o600)
    said = enrolment.enrol(invitation, world.company("charlie"), 40, sleep=no_pause)
    size = world.platform.ledger_store.size
    with pytest.raises(KeyHistoryError) as caught:
        world.platform.enrolment.approve("charlie", said)
    assert caught.value.fault is KeyFault.KEY_TAKEN
    assert world.platform.ledger_store.size == size
    world.platform.enrolment.reject("charlie")


# The end of a company


def test_a_revoked_company_is_out_for_everybody(world: World, plan: CampaignPlan) -> None:
    """It is not let in, says nothing more, its name is not enrolled again, and no peer plans with it."""
    world.enrol("charlie")
    world.publish(plan)
    accept(world, "alpha")
    world.platform.enrolment.revoke("charlie", RevocationReason.KEY_COMPROMISED)
    with pytest.raises(NorenError) as refused:
        accept(world, "charlie")
    assert refused.value.code == Refusal.CERTIFICATE_REFUSED
    with pytest.raises(RemoteProtocolError) as mismatch:
        accept(world, "bravo")
    assert (mismatch.value.code, "revoked" in mismatch.value.message) == (Refusal.PLAN_MISMATCH, True)
    with pytest.raises(LocalProtocolError) as again:
        world.platform.enrolment.invite("charlie")
    assert again.value.code == Refusal.ALREADY_ENROLLED
    with pytest.raises(NorenError):
        settle(world, plan, "charlie")
    bodies = [s.entry.body for s in world.platform.ledger_store.entries(kind=EntryKind.REVOCATION)]
    assert bodies == [{"company": "charlie", "reason": "KEY_COMPROMISED"}]


def test_a_revocation_that_a_crash_interrupted_is_completed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the ledger has it and our database has not, the same call says so once and shuts the company out."""
    with monkeypatch.context() as patch:
        patch.setattr(world.platform.ledger_store, "append_many", appended_then_crash(world))
        with pytest.raises(Crash):
            world.platform.enrolment.revoke("bravo", RevocationReason.LEFT)
    world.platform.enrolment.revoke("bravo", RevocationReason.BREACH_OF_AGREEMENT)
    found = world.platform.ledger_store.entries(kind=EntryKind.REVOCATION)
    assert [stored.entry.body["reason"] for stored in found] == ["LEFT"]
    with world.platform.store.transaction() as transaction:
        company = transaction.company("bravo")
    assert company is not None
    assert company.state is CompanyState.REVOKED


def appended_then_crash(world: World) -> Callable[[Sequence[bytes]], list[int]]:
    append_many = world.platform.ledger_store.append_many

    def run(entries: Sequence[bytes]) -> list[int]:
        append_many(entries)
        raise Crash

    return run


# The platform's keys


def test_the_platform_changes_its_keys_under_running_companies(world: World, plan: CampaignPlan) -> None:
    """Companies with the old pins go on, new ones pin the new keys, auditors verify by either trust file."""
    first = platform_files.trust_file(world.platform)
    world.rotate("alpha", CompanyKey.SIGNING)
    with world.stopped() as platform:
        platform_keys.rotate(platform, PlatformKey.PLATFORM)
        platform_keys.rotate(Platform(platform.directory), PlatformKey.LOG)
        platform_keys.rotate_server_key(platform)
    world.rotate("alpha", CompanyKey.TLS)
    world.enrol("charlie")
    world.publish(plan)
    for company in COMPANIES:
        accept(world, company)
    last = platform_files.trust_file(world.platform)
    assert first.splitlines()[1:] != last.splitlines()[1:]
    assert world.audit(first) == world.audit(last) == set()
    assert world.platform.ledger_store.checkpoint().count(b"job-site/ledger ") == 2
    with world.stopped() as platform:
        platform_keys.retire_log_key(platform)
    assert world.platform.ledger_store.checkpoint().count(b"job-site/ledger ") == 1
    assert world.audit(first) == world.audit(last) == set()
    world.rotate("alpha", CompanyKey.NODE)


def test_the_platforms_keys_do_not_change_under_its_services(world: World) -> None:
    """While anybody has the ledger open, a change is refused and nothing is written."""
    size = world.platform.ledger_store.size
    keys = sorted(path.name for path in (world.root / "platform" / "keys").iterdir())
    for change in (
        lambda: platform_keys.rotate(Platform(world.root / "platform"), PlatformKey.LOG),
        lambda: platform_keys.rotate_server_key(Platform(world.root / "platform")),
        lambda: platform_keys.retire_log_key(Platform(world.root / "platform")),
    ):
        with pytest.raises(LocalProtocolError) as caught:
            change()
        assert caught.value.code == "LEDGER_IN_USE"
    assert world.platform.ledger_store.size == size
    assert sorted(path.name for path in (world.root / "platform" / "keys").iterdir()) == keys


@pytest.mark.parametrize("role", PlatformKey)
def test_a_platform_that_stopped_halfway_signs_nothing_until_it_is_done(
    role: PlatformKey, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the change in the ledger and the old key in use, nothing is appended; calling again mends it."""
    with world.stopped() as platform:
        before = platform.facts
        with monkeypatch.context() as patch:
            patch.setattr(platform_keys, "_state", stated_then_crash())
            with pytest.raises(Crash):
                platform_keys.rotate(platform, role)
        halfway = Platform(platform.directory)
        with pytest.raises(ConfigurationError) as caught:
            halfway.ledger.append_platform_entry(EntryKind.REVOCATION, {"company": "alpha", "reason": "LEFT"})
        assert caught.value.code == "KEY_ROTATION_UNFINISHED"
        halfway.ledger_store.close()
        platform_keys.rotate(Platform(platform.directory), role)
        after = Platform(platform.directory).facts
        changed = (after.platform_key != before.platform_key, after.log_key != before.log_key)
        assert changed == (role is PlatformKey.PLATFORM, role is PlatformKey.LOG)
    assert len(world.platform.ledger_store.entries(kind=EntryKind.PLATFORM_KEY_ROTATION)) == 1
    world.rotate("alpha", CompanyKey.NODE)


def stated_then_crash() -> Callable[..., None]:
    state = platform_keys._state

    def run(*args: Any) -> None:
        state(*args)
        raise Crash

    return run


def test_companies_take_over_a_new_authority_by_its_fingerprint(world: World) -> None:
    """With the new certificate, and no other, companies go on; then their own follow with the TLS key."""
    with world.stopped() as platform:
        said = platform_keys.rotate_authority(platform)
    alpha, file = world.company("alpha"), world.root / "platform" / "ca" / "ca.pem"
    with pytest.raises(PlatformUnavailableError):
        world.rotate("alpha", CompanyKey.NODE)
    with pytest.raises(VerificationError) as caught:
        keystore.replace_authority(alpha, file, "ab" * 32)
    assert caught.value.code == "FINGERPRINT_MISMATCH"
    keystore.replace_authority(alpha, file, f"{said[:32]} {said[32:]}".upper())
    world.rotate("alpha", CompanyKey.NODE)
    world.rotate("alpha", CompanyKey.TLS)
    world.enrol("charlie")
    world.rotate("charlie", CompanyKey.TLS)


def test_a_new_authority_is_whole_after_a_crash_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file was the last, the same command leaves one new authority and the one before it."""
    directory = tmp_path / "platform"
    platform_files.initialise(
        directory, name="job-site", host="127.0.0.1", ports=(1, 2, 3, 4)
    ).ledger_store.close()
    for done in range(1, 7):
        before = Platform(directory).authority.certificate_pem
        with monkeypatch.context() as patch:
            crash_after(patch, done)
            with pytest.raises(Crash):
                platform_keys.rotate_authority(Platform(directory))
        said = platform_keys.rotate_authority(Platform(directory))
        authority, file = Platform(directory).authority, (directory / "ca" / "ca.pem").read_bytes()
        assert file == authority.certificate_pem + before
        assert certificate_sha256(authority.certificate_pem).hex() == said
        assert Platform(directory).server_tls.certificate.endswith(authority.certificate_pem)
        assert not [path for path in directory.rglob("*next*") if path.is_file()]


def crash_after(patch: pytest.MonkeyPatch, done: int) -> None:
    """The power goes after so many files were written."""
    written: list[Path] = []

    def write(path: Path, data: bytes) -> None:
        write_private(path, data)
        written.append(path)
        if len(written) == done:
            raise Crash

    for module in ("noren_server.platform_keys", "noren_local.secret_files"):
        patch.setattr(f"{module}.write_private", write)


def test_the_assignment_key_changes_between_campaigns(world: World, plan: CampaignPlan) -> None:
    """While a campaign is open, its assignment of students must not change; afterwards it may."""
    before = world.platform.assignment_key
    world.enrol("charlie")
    world.publish(plan)
    with world.stopped() as platform:
        with pytest.raises(LocalProtocolError) as caught:
            platform_keys.rotate_assignment_key(platform)
        assert (caught.value.code, platform.assignment_key) == ("KEY_IN_USE", before)
        campaigns.close(Platform(platform.directory), CAMPAIGN)
    with world.stopped() as platform:
        platform_keys.rotate_assignment_key(platform)
        assert Platform(platform.directory).assignment_key != before


# OPRF keys


def test_closing_a_campaign_leaves_no_oprf_key_in_the_database(world: World, plan: CampaignPlan) -> None:
    """After the close no private key is in the file or its log, and the ledger says that it is closed."""
    world.enrol("charlie")
    world.publish(plan)
    publish_oprf_keys(world.platform.store, world.platform.ledger, plan)
    database = world.root / "platform" / "platform.db"
    with sqlite3.connect(database) as connection:
        keys = [row[0] for row in connection.execute("SELECT key FROM oprf_keys")]
    connection.close()
    assert len(keys) == len(COMPANIES) * len(TableKind)
    assert all(key in content(database) for key in keys)
    campaigns.close(world.platform, CAMPAIGN)
    assert not any(key in content(database) for key in keys)
    campaigns.close(world.platform, CAMPAIGN)
    assert len(world.platform.ledger_store.entries(kind=EntryKind.CAMPAIGN_CLOSED)) == 1
    with pytest.raises(LocalProtocolError) as caught:
        publish_oprf_keys(world.platform.store, world.platform.ledger, plan)
    assert caught.value.code == Refusal.NOT_AVAILABLE


def test_what_is_said_again_under_a_new_platform_key_keeps_its_place(
    world: World, plan: CampaignPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that a crash interrupted are repeated after a change of key without a second statement."""
    world.enrol("charlie")
    world.publish(plan)
    publish_oprf_keys(world.platform.store, world.platform.ledger, plan)
    invitation = world.root / "delta.invitation"
    invitation.write_bytes(world.platform.enrolment.invite("delta").content)
    said = enrolment.enrol(invitation, world.company("delta"), 40, sleep=no_pause)
    with monkeypatch.context() as patch:
        patch.setattr(type(world.platform.authority), "issue_client", crash)
        with pytest.raises(Crash):
            world.platform.enrolment.approve("delta", said)
    size = world.platform.ledger_store.size
    with world.stopped() as platform:
        platform_keys.rotate(platform, PlatformKey.PLATFORM)
    publish_oprf_keys(world.platform.store, world.platform.ledger, plan)
    world.platform.enrolment.approve("delta", said)
    assert world.platform.ledger_store.size == size + 1
    enrolment.collect(world.company("delta"), sleep=no_pause)


def crash(*_: object, **__: object) -> None:
    """The power goes."""
    raise Crash


def content(database: Path) -> bytes:
    """Every byte of the database and what lies beside it."""
    return b"".join(path.read_bytes() for path in sorted(database.parent.glob(f"{database.name}*")))
