"""Carrying out erasure orders: what goes, what is searched for, what is certified.

docs/rights/erasure.md §4 to §6. Promises: open questions of students are answered first, if the order says
so; what is on a revocation list is gone from every registered store when a certificate is signed, and every
custody record of the campaign has a new key by then, so that no copy from before can be read; a search that
finds something is no certificate; whatever breaks off is carried out again from its beginning, and certified
once. Nothing that leaves this machine says whether anything was there to delete.

    rights/inventory-<order>.json           secret: what was done where, for the auditor on the premises
    rights/certificates/<order>.json        what was delivered
"""

from __future__ import annotations

import secrets
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from noren_client import (
    alignment,
    campaign_files,
    evaluated_identifiers,
    keystore,
    replay_data,
    revocations,
    sealed_statistics,
)
from noren_client.company_secrets import secrets_of, stored_in
from noren_client.gate import score_records
from noren_client.imports import import_journal
from noren_client.ledger_watch import LedgerWatch
from noren_client.rights import orders, scan
from noren_client.rights.custody import CustodyStore
from noren_client.rights.mirror_deposit import PENDING_FILE
from noren_client.rights.orders import OrderTransport, ReceivedOrder, verify_up_to_date
from noren_client.transport import PlatformClient
from noren_core import canonical_json
from noren_core.crypto.revocation_list import RevocationList
from noren_core.crypto.sealed_table import TableContext, TableManifest, row_secrets
from noren_core.errors import LocalProtocolError, NorenError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, sign_entry
from noren_core.rights.erasure.deletion_certificate import (
    ID_BYTES,
    INVENTORY_SALT_BYTES,
    DeletionCertificate,
    Disposition,
    ModelLineage,
    Residual,
    ScanPlace,
    all_artefacts,
    certificate_sha256,
    certificate_to_bytes,
    inventory_commitment,
)
from noren_core.rights.erasure.erasure_order import ErasureOrder, OrderEvent, OrderState, order_sha256
from noren_core.rights.signed_statement import SignedStatement
from noren_core.season.plan import CampaignPlan, TrainingMode
from noren_local.private_file import write_private

__all__ = ["Erasure", "erase", "verify_up_to_date"]

KEPT_FILES = (
    "revocations-*.bin",  # the tombstones themselves: tags among dummies
    "decisions-*.json",  # the company's own decisions about its own applicants
    "provisions-*.json",  # what the law has us keep for three years
    "applicants.csv",  # the company's own
    "erasing.json",  # what is being searched for
)
"""Patterns of files that hold some of what was erased on purpose; named as residuals in every certificate."""

CANARIES_FILE = "erasing.json"
LAST_SCAN = "last-scan"

Disclose = Callable[[str], bool]
"""Answers what students ask us about a campaign; whether nothing is open any more."""

_DOWNLOADS = tuple(f"table-{kind.value}.download" for kind in TableKind)
_MODEL_FILES = ("head.json", "encrypted-head.json")
_INVENTORY_FORMAT = "noren/v1/erasure-inventory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What carrying out orders needs.

    Attributes:
        rights: how orders come and certificates go.
        platform: how tables' revocation lists come; opened only if a list is asked for.
        disclose: called before anything is deleted; if it fails, that is in vain for orders that do not wait.
        clock: seconds since 1970.
        places: where to search besides the company's directory.
    """

    rights: OrderTransport
    platform: Callable[[], PlatformClient]
    disclose: Disclose
    clock: Callable[[], float]
    places: Sequence[Path] = field(default_factory=lambda: (Path(tempfile.gettempdir()),))


class _Work:
    """What was erased, for the search, and what was done where, for the inventory.

    What is to be searched for is on disk (a secret) before it is erased and until a search came back clean:
    whoever is interrupted, or finds something, has nothing else left to search by.
    """

    def __init__(self, company_dir: Path, campaign: str) -> None:
        self.done: dict[str, Counter[str]] = {}
        self._company_dir = company_dir
        self._name = campaign_files.secret_name(campaign, CANARIES_FILE)
        kept = keystore.read_secret(company_dir, self._name)
        values = [] if kept is None else canonical_json.parse_object(kept)["erased"]
        self._erased = {bytes.fromhex(value) for value in values}

    def remember(self, values: Iterable[bytes]) -> None:
        """To be called before these are erased."""
        self._erased |= set(values)
        body = {"erased": sorted(value.hex() for value in self._erased)}
        keystore.write_secret(self._company_dir, self._name, canonical_json.encode(body))

    def canaries(self, *, without: Collection[bytes]) -> scan.Canaries:
        """What may be nowhere."""
        return scan.Canaries.of(self._erased - set(without))

    def forget(self) -> None:
        """To be called after a search that found nothing."""
        self._erased.clear()
        keystore.remove_secret(self._company_dir, self._name)

    def note(self, store: str, what: str) -> None:
        """Something was done."""
        self.done.setdefault(store, Counter())[what] += 1


def erase(company_dir: Path, campaign: str, tools: Erasure) -> bool:
    """Carry out every order of a campaign that these files have not seen; whether there was one.

    1. The orders, proven; nothing to do without one.
    2. No legal hold; answer what students asked.
    3. Delete from every registered store; renew the key of every custody record that stays.
    4. Search for what was deleted.
    5. For each order a certificate: signed, cosigned by the custodian if there is one, in the ledger.

    Raises:
        LocalProtocolError: LEGAL_HOLD_ACTIVE, ERASURE_HELD_FOR_DISCLOSURE; nothing was deleted.
        VerificationError: with code CERT_SCAN_HIT, if something was found; no certificate was made.
        NorenError: if platform or custodian cannot be asked; the next call begins again.
    """
    watch = LedgerWatch(company_dir)
    received = orders.fetch(company_dir, campaign, tools.rights, watch)  # 1
    waiting = [item for item in received if item.state is not OrderState.CERTIFIED]
    if not waiting:
        return False
    now = int(tools.clock())
    orders.verify_no_hold(company_dir, campaign, now=now)  # 2
    _answer_questions(campaign, waiting, tools)
    for item in waiting:
        if item.state is not OrderState.EXECUTING:
            orders.advance(company_dir, campaign, item.index, OrderEvent.EXECUTE)
    plan = campaign_files.load_plan(company_dir, campaign)
    import_journal.forget_copies(company_dir)
    with CustodyStore(company_dir, clock=tools.clock) as custody:
        work = _Work(company_dir, campaign)
        if any(item.order.is_whole for item in waiting):  # 3
            _erase_everything(company_dir, plan, custody, work)
        else:
            _erase_revoked(company_dir, plan, custody, work, waiting, tools, watch)
        if not all(item.order.keeps_models for item in waiting):
            for name in _MODEL_FILES:
                _remove_secret(company_dir, campaign, name, work)
        custody.settle(campaign)
        _search(company_dir, plan, custody, work, tools)  # 4
        for item in waiting:  # 5
            _certify(company_dir, plan, item, custody, work, tools)
    return True


def _answer_questions(campaign: str, waiting: Sequence[ReceivedOrder], tools: Erasure) -> None:
    """Answer what students asked, everybody's; what cannot be answered holds the orders up.

    An order that wants things gone at once is not held up. It is one student's wish, so the others' questions
    are answered all the same, as far as they can be.
    """
    is_urgent = not all(item.order.disclose_first for item in waiting)
    try:
        is_done = tools.disclose(campaign)
    except NorenError:
        if not is_urgent:
            raise
        return
    if not is_done and not is_urgent:
        raise LocalProtocolError(
            "erasure: expected every question of students to be answered first, got open ones",
            code="ERASURE_HELD_FOR_DISCLOSURE",
        )


def _erase_revoked(
    company_dir: Path,
    plan: CampaignPlan,
    custody: CustodyStore,
    work: _Work,
    waiting: Sequence[ReceivedOrder],
    tools: Erasure,
    watch: LedgerWatch,
) -> None:
    """Delete what is on the newest revocation lists, and renew every key.

    1. The lists, at least as new as the orders say.
    2. Scores of revoked rows, and of a table that was replaced since: nobody could say which of those are
       revoked. `score` makes them again for whoever has a row in the new one.
    3. Training and replay rows.
    4. Evaluated identifiers; downloads; half a deposit.
    5. Everything that is left in custody gets a new key.
    """
    with tools.platform() as platform:
        lists = dict(_revocation_lists(company_dir, plan, platform, watch))  # 1
    for item in waiting:
        _verify_new_enough(item.order, lists)
    tags = {kind: frozenset(listed.tags) for kind, (_, listed) in lists.items()}
    _erase_scores(company_dir, plan.campaign, custody, work, lists.get(TableKind.SCORE))  # 2
    _erase_training_rows(company_dir, plan, custody, work, tags.get(TableKind.TRAIN, frozenset()))  # 3
    for kind, (context, listed) in lists.items():  # 4
        _erase_links(company_dir, plan, kind, context, frozenset(listed.tags), work)
    _remove_downloads(company_dir, plan.campaign, work)
    _remove_secret(company_dir, plan.campaign, PENDING_FILE, work)
    _renew_keys(company_dir, plan.campaign, custody, work)  # 5


def _erase_everything(company_dir: Path, plan: CampaignPlan, custody: CustodyStore, work: _Work) -> None:
    """Delete all that is kept about persons for the campaign."""
    campaign = plan.campaign
    people = score_records.load(company_dir, campaign).people
    work.remember(_about(people))
    score_records.destroy(company_dir, campaign, custody, lambda _: True)
    for kind in TableKind:
        work.remember(evaluated_identifiers.kept_outputs(company_dir, campaign, kind).values())
        _remove_secret(company_dir, campaign, f"oprf-{kind.value}.json", work)
    with suppress(NorenError):  # an older copy, whose key is gone: nothing of it can be read anyhow
        if plan.mode is TrainingMode.NOISED_ROWS:
            work.remember(campaign_files.load_training_set(company_dir, campaign).tags)
    for name in custody.names(campaign):
        custody.destroy(name)
        work.note("custody", "destroyed")
    for file in ("blinding.json", PENDING_FILE, "scored.json", "weights.bin", campaign_files.SUMS_FILE):
        _remove_secret(company_dir, campaign, file, work)
    _remove_downloads(company_dir, campaign, work)


def _revocation_lists(
    company_dir: Path, plan: CampaignPlan, platform: PlatformClient, watch: LedgerWatch
) -> Iterator[tuple[TableKind, tuple[TableContext, RevocationList]]]:
    """The newest list of our newest table of each kind, verified and kept."""
    campaign, company = plan.campaign, keystore.load(company_dir).company
    proof = platform.get_proof(campaign, known_tree_size=watch.known_tree_size)
    manifests = [
        TableManifest.from_body(item.entry.body["manifest"])
        for item in watch.accept(proof)
        if item.entry.kind is EntryKind.TABLE
        and (item.entry.campaign, item.entry.company) == (campaign, company)
    ]
    newest = {manifest.context.kind: manifest.context for manifest in manifests}
    for kind, context in sorted(newest.items()):
        data, signature = platform.fetch_revocations(campaign, kind)
        listed = revocations.keep_newest(
            revocations.list_path(company_dir, campaign, kind),
            data,
            signature,
            table_id=context.table_id,
            watch=watch,
        )
        yield kind, (context, listed)


def _verify_new_enough(
    order: ErasureOrder, lists: dict[TableKind, tuple[TableContext, RevocationList]]
) -> None:
    """Raise VerificationError if a list is older than the order, or its table is not there."""
    for table in order.tables:
        if table.kind not in lists:
            raise VerificationError("erasure: expected the tables of the order in the ledger, got fewer")
        context, listed = lists[table.kind]
        if context.table_id == table.table_id and listed.sequence < table.sequence:
            raise VerificationError(
                "erasure: expected a revocation list as new as the order, got an older one"
            )


def _erase_scores(
    company_dir: Path,
    campaign: str,
    custody: CustodyStore,
    work: _Work,
    listed: tuple[TableContext, RevocationList] | None,
) -> None:
    index = score_records.load(company_dir, campaign)
    if listed is None:
        return
    context, revocation_list = listed
    revoked = frozenset(revocation_list.tags)
    is_outdated = index.table_id != context.table_id

    def is_to_go(person: score_records.ScoredPerson) -> bool:
        return is_outdated or person.tag in revoked

    work.remember(_about(filter(is_to_go, index.people)))
    score_records.destroy(company_dir, campaign, custody, is_to_go)


def _erase_training_rows(
    company_dir: Path, plan: CampaignPlan, custody: CustodyStore, work: _Work, tags: Collection[bytes]
) -> None:
    if plan.mode is TrainingMode.SEALED_STATISTICS:
        sealed_statistics.unlink_weights(company_dir, plan.campaign)
        return
    name = campaign_files.training_record(plan.campaign)
    if _is_readable(custody, name):
        training_set = campaign_files.load_training_set(company_dir, plan.campaign)
        work.remember(set(training_set.tags) & set(tags))
        custody.write(name, training_set.without(tags).to_bytes())
    if _is_readable(custody, replay_data.replay_record(plan.campaign)):
        replay_data.erase_rows(company_dir, plan.campaign, tags)


def _erase_links(
    company_dir: Path,
    plan: CampaignPlan,
    kind: TableKind,
    context: TableContext,
    revoked: Collection[bytes],
    work: _Work,
) -> None:
    """Forget the outputs of those whose row is revoked; note their identifiers for the search."""
    outputs = evaluated_identifiers.kept_outputs(company_dir, plan.campaign, kind)
    tags = {key: row_secrets(output, context)[0] for key, output in outputs.items()}
    going = {key for key, tag in tags.items() if tag in revoked}
    hashes = {evaluated_identifiers.hashed(key): key for key in _identifiers(company_dir, plan)}
    identifiers = [hashes[key] for key in going if key in hashes]
    work.remember([*(outputs[key] for key in going), *(tags[key] for key in going), *identifiers])
    evaluated_identifiers.forget_outputs(company_dir, plan.campaign, kind, going)
    work.note(f"oprf-{kind.value}.json", "written again")


def _identifiers(company_dir: Path, plan: CampaignPlan) -> set[bytes]:
    """The normalised identifiers of our own file; none without one."""
    if not (company_dir / alignment.APPLICANTS_FILE).exists():
        return set()
    return {applicant.key for applicant in alignment.applicants(company_dir, plan)}


def _renew_keys(company_dir: Path, campaign: str, custody: CustodyStore, work: _Work) -> None:
    """Every record under a new key; one that cannot be read, since its key is gone, goes."""
    for name in custody.names(campaign):
        if _is_readable(custody, name):
            data = custody.read(name)
            if data is not None:
                custody.replace(name, data)
                work.note("custody", "renewed")
        else:
            custody.destroy(name)
            work.note("custody", "unreadable")
    left = set(custody.names(campaign))
    score_records.destroy(
        company_dir,
        campaign,
        custody,
        lambda p: p.is_deposited and score_records.score_name(campaign, p.handle) not in left,
    )


def _is_readable(custody: CustodyStore, name: str) -> bool:
    """Whether there is such a record and its key exists; in an older copy it does not."""
    try:
        return custody.read(name) is not None
    except LocalProtocolError as error:
        if error.code not in ("KEY_DESTROYED", "UNKNOWN_HANDLE"):
            raise
        return False


def _about(people: Iterable[score_records.ScoredPerson]) -> Iterator[bytes]:
    """What identifies these in our files."""
    for person in people:
        yield from (person.identifier, person.mailbox, person.tag)


def _remove_secret(company_dir: Path, campaign: str, file: str, work: _Work) -> None:
    name = campaign_files.secret_name(campaign, file)
    if (company_dir / name).exists():
        keystore.remove_secret(company_dir, name)
        work.note(file, "removed")


def _remove_downloads(company_dir: Path, campaign: str, work: _Work) -> None:
    place = campaign_files.directory(company_dir, campaign)
    for path in [*(place / name for name in _DOWNLOADS), *place.rglob("*.part")]:
        if path.exists():
            path.unlink()
            work.note("downloads", "removed")


def _search(
    company_dir: Path, plan: CampaignPlan, custody: CustodyStore, work: _Work, tools: Erasure
) -> None:
    """Raise VerificationError (CERT_SCAN_HIT) unless nothing of what was erased is found."""
    if (company_dir / _inventory_name(LAST_SCAN)).exists():  # it may name a file by what was erased
        keystore.remove_secret(company_dir, _inventory_name(LAST_SCAN))
    accepted_at = (campaign_files.directory(company_dir, plan.campaign) / "plan.json").stat().st_mtime
    result = scan.scan(
        (company_dir, *tools.places),
        _opened_secrets(company_dir, plan.campaign, custody),
        work.canaries(without=_still_held(company_dir)),
        kept=KEPT_FILES,
        changed_since=accepted_at,
    )
    if not result.is_clean:
        for place in (*result.found, *result.unreadable):
            work.note("scan", place)
        _keep_inventory(company_dir, LAST_SCAN, plan.campaign, work, bytes(INVENTORY_SALT_BYTES))
        raise VerificationError(
            "erasure: expected nothing of what was deleted on this machine, got some; "
            "rights/inventory-last-scan.json says where",
            code="CERT_SCAN_HIT",
        )
    work.forget()


def _still_held(company_dir: Path) -> set[bytes]:
    """What is about persons whose rows for another purpose or campaign stay: it is searched for no more.

    An identifier and a mailbox are the same in all campaigns of a company; withdrawing one purpose leaves the
    other alone.
    """
    people = [
        person
        for campaign in campaign_files.accepted(company_dir)
        for person in score_records.load(company_dir, campaign).people
    ]
    return {value for person in people for value in (person.identifier, person.mailbox)}


def _opened_secrets(company_dir: Path, campaign: str, custody: CustodyStore) -> Iterator[tuple[str, bytes]]:
    """What our sealed files hold, with what is kept on purpose left out."""
    sealed = secrets_of(company_dir)
    for name in stored_in(company_dir).names():
        if any(Path(name).match(pattern) for pattern in KEPT_FILES):
            continue
        secret = sealed.read(name)
        if secret is not None:
            yield name, secret.reveal()
    for name in custody.names(campaign):
        data = custody.read(name)
        if data is not None:
            yield name, data


def _certify(
    company_dir: Path,
    plan: CampaignPlan,
    item: ReceivedOrder,
    custody: CustodyStore,
    work: _Work,
    tools: Erasure,
) -> None:
    """Sign, have cosigned, deliver, and only then count the order as carried out."""
    keys, order = keystore.load(company_dir), item.order
    salt = secrets.token_bytes(INVENTORY_SALT_BYTES)
    inventory = _keep_inventory(company_dir, order.order_id.hex(), plan.campaign, work, salt)
    certificate = DeletionCertificate(
        certificate_id=secrets.token_bytes(ID_BYTES),
        order_id=order.order_id,
        order_sha256=order_sha256(item.signed),
        company=keys.company,
        campaign=plan.campaign,
        completed_at=int(tools.clock()),
        artefacts=all_artefacts(is_custodian_held=custody.is_custodian_held),
        models=(_lineage(plan, order),),
        is_clean=True,
        places=tuple(ScanPlace),
        residuals=tuple(Residual),
        inventory=inventory,
        is_custodian_held=custody.is_custodian_held,
    )
    statement = certificate.sign(keys.signing)
    data = certificate_to_bytes(statement, _cosignature(plan.campaign, order, statement, custody))
    write_private(company_dir / "rights" / "certificates" / f"{order.order_id.hex()}.json", data)
    body = {
        "campaign": plan.campaign,
        "company": keys.company,
        "order": item.index,
        "certificate_sha256": certificate_sha256(statement).hex(),
    }
    entry = sign_entry(EntryKind.DELETION_CERTIFICATE, keys.company, body, keys.signing)
    watch = LedgerWatch(company_dir)
    proof = tools.rights.deliver_certificate(
        plan.campaign, data, entry, known_tree_size=watch.known_tree_size
    )
    if not any(shown.body == body for shown in watch.verify(proof)):
        raise VerificationError("erasure: expected a proof that our certificate is in the ledger, got none")
    orders.advance(company_dir, plan.campaign, item.index, OrderEvent.CERTIFY)


def _cosignature(
    campaign: str, order: ErasureOrder, statement: SignedStatement, custody: CustodyStore
) -> SignedStatement | None:
    if custody.custodian is None:
        return None
    said = custody.custodian.cosign(
        campaign, certificate_sha256=certificate_sha256(statement), since=order.issued_at
    )
    return said.statement


def _lineage(plan: CampaignPlan, order: ErasureOrder) -> ModelLineage:
    """The same for everybody: the plan's budget, and whether the order lets the model stay."""
    disposition = Disposition.DP_BOUNDED_RETAIN if order.keeps_models else Disposition.DELETED
    return ModelLineage(plan.campaign, disposition, plan.training.epsilon, plan.training.delta)


def _keep_inventory(company_dir: Path, name: str, campaign: str, work: _Work, salt: bytes) -> bytes:
    """Write down what was done where; the commitment to it."""
    body = {"format": _INVENTORY_FORMAT, "campaign": campaign, "done": work.done}
    inventory = canonical_json.encode(body)
    kept = canonical_json.encode({"inventory": inventory.decode(), "salt": salt.hex()})
    keystore.write_secret(company_dir, _inventory_name(name), kept)
    return inventory_commitment(inventory, salt)


def _inventory_name(name: str) -> str:
    return f"rights/inventory-{name}.json"
