"""This machine: whether it is well and what to tell IT, its service, its keys, and handing it over.

Promises: what is shown when a page is opened was looked at without asking the network; what asks the network
is a job that somebody starts. Pages work for a directory that was not set up, or was handed over. No secret
is shown; a passphrase that is typed is in no page, address or log.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

from noren_client import config, inertness, key_rotation, keystore
from noren_client.company_secrets import secrets_of
from noren_client.enrolment import MAX_INVITATION_BYTES
from noren_client.outbound import NO_PROXY_AT_ALL, NetworkSettings, parse_proxy
from noren_client.setup import doctor, hand_over, local_checks, service, status, systemd_units, wizard
from noren_client.setup.findings import ASKS_NETWORK, Check, Finding, State
from noren_client.setup.systemd_units import Scope
from noren_client.setup.wizard import Given, Nobody, SetupState
from noren_client.web.desk import Desk, authorised, desk_of, may, person_of
from noren_core.crypto.identity import fingerprint
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.vault import MIN_PASSPHRASE_BYTES, VaultState
from noren_core.errors import DataError
from noren_core.ledger.entries import MAX_DECLARED_SIZE, CompanyKey
from noren_core.rights.gate.roles import Action
from noren_core.season.participation import agreement_sha256, agreement_text
from noren_local.private_file import write_private
from noren_web import translations
from noren_web.jobs import Job
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted, PostedForm
from noren_web.translations import Text
from noren_web.translations import lazy as _

router = APIRouter()

_KIND = "machine"
_MAX_PASSPHRASE = 1024

_PAGES: tuple[tuple[str, Text], ...] = (
    ("/machine", _("State")),
    ("/machine/setup", _("Set-up")),
    ("/machine/service", _("Service")),
    ("/machine/keys", _("Keys")),
    ("/machine/hand-over", _("Handing over")),
)
CHECK_WORDS: dict[Check, Text] = {
    Check.CONFIGURATION: _("Configuration"),
    Check.DIRECTORY: _("Data directory"),
    Check.DISK: _("Disk"),
    Check.KEYS: _("Keys"),
    Check.CERTIFICATE: _("Certificate"),
    Check.LEDGER: _("Ledger"),
    Check.SERVICE: _("Service"),
    Check.PROXY: _("Proxy"),
    Check.TLS: _("Encryption on the way (TLS)"),
    Check.CLOCK: _("Clock"),
    Check.VERSION: _("Release"),
}
STATE_WORDS: dict[State, tuple[Text, str]] = {
    State.OK: (_("OK"), "good"),
    State.WARN: (_("Attention"), "warn"),
    State.FAIL: (_("To be mended"), "bad"),
}
KEY_WORDS: dict[CompanyKey, tuple[Text, Text]] = {
    CompanyKey.SIGNING: (_("Signing key"), _("Signs everything that this company says.")),
    CompanyKey.SEALING: (_("Sealing key"), _("Other companies seal to it during training.")),
    CompanyKey.TLS: (
        _("Connection key (TLS)"),
        _("Lets this machine in; renews the certificate."),
    ),
    CompanyKey.NODE: (_("Training node key"), _("Lets the training program in at the platform.")),
}
PROTECTION_WORDS: dict[VaultState | None, tuple[Text, str]] = {
    None: (_("Not encrypted"), "warn"),
    VaultState.SEALED: (_("Encrypted under a passphrase"), "good"),
    VaultState.CONVERTING: (_("Conversion was interrupted"), "bad"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One check as it is shown; `line` is what to give to IT, if something is."""

    name: Text
    state: Text
    tone: str
    found: str
    line: str


@router.get("/machine", dependencies=[may(Action.READ_OWN_LEDGER)])
def overview(request: Request) -> Response:
    """What was found, what to tell IT, and the one thing to do next."""
    desk = desk_of(request)
    known = doctor.last(desk.directory)
    asked = [] if known is None else [item for item in known.findings if item.check in ASKS_NETWORK]
    here = _rows(list(doctor.local(desk.directory, clock=desk.clock)))
    step, campaign = status.next_step(desk.directory, clock=desk.clock)
    return _page(
        request,
        "machine/overview.html",
        rows=here,
        network=_rows(asked),
        asked_at=0 if known is None else known.at,
        tones=[row.tone for row in (*here, *_rows(asked))],
        next_step=status.sentence(step, translations.locale(), campaign=campaign),
        directory=str(desk.directory.resolve()),
        is_configured=_is_configured(desk),
        job=_own_job(request),
    )


@router.post("/machine/check", dependencies=[may(Action.READ_OWN_LEDGER)])
def check(request: Request, form: Posted) -> Response:
    """Look at everything again, the way to the platform included, in a job."""
    del form  # verified, and empty
    desk = desk_of(request)
    names = {item: str(words) for item, words in CHECK_WORDS.items()}  # in her language: a job has none

    def work(job: Job) -> None:
        done = 0

        def tell(found: Check) -> None:
            nonlocal done
            done += 1
            job.progress(done, len(Check), names[found])

        doctor.examine(desk.directory, clock=desk.clock, progress=tell)

    return _started(request, work, _("Looking at this machine and the way to the platform"), "/machine")


@router.get("/machine/setup", dependencies=[may(Action.MANAGE_STAFF)])
def set_up_page(request: Request) -> Response:
    """The next step of the set-up: invitation and agreement, the fingerprint, or what was settled."""
    return _set_up_page(request, {})


@router.post("/machine/setup", dependencies=[may(Action.MANAGE_STAFF)])
def set_up(request: Request, form: Posted) -> Response:
    """Check the way to the platform, then enrol, in a job; nothing is written if a check fails."""
    desk = desk_of(request)
    authorised(request, Action.MANAGE_STAFF)
    size = form.text("declared_size", most=6, default="")
    errors: dict[str, Text] = {}
    if not size.isascii() or not size.isdigit() or not 1 <= int(size) <= MAX_DECLARED_SIZE:
        errors["declared_size"] = _("A number from 1 to {n}.").format(n=MAX_DECLARED_SIZE)
    if not form.has_file("invitation"):
        errors["invitation"] = _("The file that the platform handed over.")
    if not form.is_ticked("agree"):
        errors["agree"] = _("Enrolling signs the agreement: somebody who may sign has to agree.")
    if errors:
        return _set_up_page(request, errors, status_code=422)
    network = _posted_network(form)
    content = form.file("invitation", most_bytes=MAX_INVITATION_BYTES).content
    kept = desk.directory / "run" / f"invitation-{secrets.token_hex(8)}.json"
    write_private(kept, content)
    given = Given(
        invitation=kept,
        declared_size=int(size),
        agreement=agreement_sha256(),
        network=network,
        language=translations.locale(),
    )
    step = str(_("Looking at the way to the platform, then asking to enrol …"))

    def work(job: Job) -> None:
        try:
            job.progress(0, step=step)
            wizard.set_up(desk.directory, given, Nobody())
        finally:
            kept.unlink(missing_ok=True)  # it has the one-time code

    return _started(request, work, _("Setting this machine up"), "/machine/setup")


@router.post("/machine/setup/collect", dependencies=[may(Action.MANAGE_STAFF)])
def collect(request: Request, form: Posted) -> Response:
    """Fetch the certificate, if the platform has approved, in a job."""
    del form  # verified, and empty
    return _go_on(request, Given(language=translations.locale()), _("Collecting the certificate"))


@router.post("/machine/setup/network", dependencies=[may(Action.MANAGE_STAFF)])
def change_network(request: Request, form: Posted) -> Response:
    """Other settings of the network, once they are known to work, in a job."""
    given = Given(network=_posted_network(form), language=translations.locale())
    return _go_on(request, given, _("Changing the network's settings"))


@router.get("/machine/service", dependencies=[may(Action.READ_OWN_LEDGER)])
def units(request: Request) -> Response:
    """The units as they would be written, how they do, and the commands for IT."""
    desk = desk_of(request)
    scope = service.installed_scope()
    run = service.systemctl(scope) if scope and service.is_systemd_running() else None
    known = service.states(service.folder_of(scope or Scope.USER), run) if scope else []
    return _page(
        request,
        "machine/service.html",
        scope=scope,
        is_systemd=service.is_systemd_running(),
        known=known,
        files=_unit_files(desk, scope or Scope.USER) if _is_configured(desk) else {},
        directory=str(desk.directory.resolve()),
    )


@router.get("/machine/keys", dependencies=[may(Action.MANAGE_STAFF)])
def keys(request: Request) -> Response:
    """Whether the keys are there and protected, how long the certificates last, and replacing a key."""
    desk = desk_of(request)
    if not desk.is_enrolled or inertness.read(desk.directory) is not None:
        return _page(request, "machine/keys.html", is_enrolled=False)
    return _page(
        request,
        "machine/keys.html",
        is_enrolled=True,
        fingerprint=fingerprint(keystore.load(desk.directory).signing.public_key),
        protection=PROTECTION_WORDS[secrets_of(desk.directory).state],
        certificate=local_checks.certificate_dates(desk.directory),
        authority=local_checks.authority_dates(desk.directory),
        rows=[
            (role.value, *KEY_WORDS[role], (desk.directory / keystore.NEXT[role]).exists())
            for role in KEY_WORDS
        ],
        job=_own_job(request),
    )


@router.post("/machine/keys/rotate", dependencies=[may(Action.MANAGE_STAFF, fresh=True)])
def rotate(request: Request, form: Posted) -> Response:
    """Replace one key by a new one, or complete a replacement that was interrupted, in a job."""
    desk, name = desk_of(request), form.text("key", most=16)
    if name not in set(CompanyKey):
        raise DataError("form: expected one of the four keys, got another text")
    role = CompanyKey(name)
    authorised(request, Action.MANAGE_STAFF)
    step = str(_("Making a new key, and telling the ledger …"))

    def work(job: Job) -> None:
        job.progress(0, step=step)
        key_rotation.rotate(desk.directory, role)

    return _started(request, work, _("Replacing a key"), "/machine/keys")


@router.get("/machine/hand-over", dependencies=[may(Action.MANAGE_STAFF)])
def hand_over_page(request: Request) -> Response:
    """What handing over means, with a typed confirmation; or what became of it."""
    return _hand_over_page(request, {})


@router.post("/machine/hand-over", dependencies=[may(Action.MANAGE_STAFF, fresh=True)])
def hand_over_now(request: Request, form: Posted) -> Response:
    """Write the archive; from then on this directory does nothing."""
    desk = desk_of(request)
    authorised(request, Action.MANAGE_STAFF)
    company = config.load(desk.directory).company
    errors = _errors_of(form, company)
    if errors:
        return _hand_over_page(request, errors, status_code=422)
    passphrase = SecretBytes(_typed(form, "passphrase"))
    archive = hand_over.default_archive(desk.directory, company)
    now, step = desk.clock(), str(_("Writing the archive, and reading it back …"))

    def work(job: Job) -> None:
        job.progress(0, step=step)
        hand_over.export(desk.directory, archive, passphrase, now=now)

    return _started(request, work, _("Handing this machine over"), "/machine/hand-over")


def _hand_over_page(request: Request, errors: dict[str, Text], *, status_code: int = 200) -> Response:
    desk = desk_of(request)
    is_configured = _is_configured(desk)
    said = inertness.read(desk.directory) if is_configured else None
    company = config.load_inert(desk.directory).company if is_configured else ""
    return _page(
        request,
        "machine/hand_over.html",
        status_code=status_code,
        is_configured=is_configured,
        company=company,
        handed_over=said,
        archive=str(hand_over.default_archive(desk.directory, company)) if company else "",
        least=MIN_PASSPHRASE_BYTES,
        errors=errors,
    )


def _go_on(request: Request, given: Given, title: Text) -> Response:
    desk = desk_of(request)
    authorised(request, Action.MANAGE_STAFF)
    step = str(_("Looking at the way to the platform …"))

    def work(job: Job) -> None:
        job.progress(0, step=step)
        wizard.set_up(desk.directory, given, Nobody())

    return _started(request, work, title, "/machine/setup")


def _posted_network(form: PostedForm) -> NetworkSettings:
    texts = {name: form.text(name, most=1024, default="") for name in ("proxy", "no_proxy", "authority")}
    return NetworkSettings.from_texts(**texts)


def _set_up_page(request: Request, errors: dict[str, Text], *, status_code: int = 200) -> Response:
    desk = desk_of(request)
    is_away = _is_configured(desk) and inertness.read(desk.directory) is not None
    state = None if is_away else wizard.state_of(desk.directory)
    is_begun = state in {SetupState.WAITING, SetupState.ENROLLED}
    settings = config.load(desk.directory) if is_begun else None
    return _page(
        request,
        "machine/setup.html",
        status_code=status_code,
        state="" if state is None else state.value,
        settings=settings,
        proxy=_shown_proxy(settings),
        no_proxy=",".join(settings.network.no_proxy) if settings else "",
        fingerprint=fingerprint(keystore.load(desk.directory).signing.public_key) if is_begun else "",
        agreement=agreement_text(),
        most=MAX_DECLARED_SIZE,
        errors=errors,
        job=_own_job(request),
    )


def _shown_proxy(settings: config.CompanyConfig | None) -> str:
    """The proxy without its password, which is in no page: it is typed again to be changed."""
    proxy = settings.network.proxy if settings else ""
    return proxy if proxy in {"", NO_PROXY_AT_ALL} else f"http://{parse_proxy(proxy).address}"


def _errors_of(form: PostedForm, company: str) -> dict[str, Text]:
    passphrase = _typed(form, "passphrase")
    errors: dict[str, Text] = {}
    if len(passphrase) < MIN_PASSPHRASE_BYTES:
        errors["passphrase"] = _("At least {n} characters.").format(n=MIN_PASSPHRASE_BYTES)
    elif passphrase != _typed(form, "passphrase_again"):
        errors["passphrase_again"] = _("This is not the same passphrase.")
    if form.text("confirmation", most=64, default="") != company:
        errors["confirmation"] = _("Type the company's name as it is shown.")
    return errors


def _typed(form: PostedForm, name: str) -> bytes:
    """As it was typed, spaces included."""
    typed = form.many(name, most=1, most_each=_MAX_PASSPHRASE)
    return typed[0].encode(errors="surrogatepass") if typed else b""


def _page(request: Request, template: str, /, *, status_code: int = 200, **values: object) -> Response:
    """A page with the links to those of this machine's pages that she may open."""
    access, person = request.app.state.access, request.state.session.person
    links = [(path, words) for path, words in _PAGES if access[path].admits(person)]
    return page(request, template, status=status_code, links=links, **values)


def _own_job(request: Request) -> Job | None:
    """The last work that she started here; another person's is not hers to follow."""
    job: Job | None = request.app.state.jobs.newest(_KIND)
    return job if job is not None and job.owner == person_of(request).name else None


def _is_configured(desk: Desk) -> bool:
    return (desk.directory / config.FILE_NAME).exists()


def _unit_files(desk: Desk, scope: Scope) -> dict[str, str]:
    program = Path(sys.executable).parent / "noren-company"
    choices = service.choices_for(desk.directory, scope=scope, program=program)
    return dict(systemd_units.unit_files(choices))


def _rows(findings: Sequence[Finding]) -> list[Row]:
    locale = translations.locale()
    return [
        Row(CHECK_WORDS[item.check], *STATE_WORDS[item.state], item.found(locale), item.line(locale))
        for item in findings
    ]


def _started(request: Request, work, title: Text, next_path: str) -> Response:  # type: ignore[no-untyped-def]
    job = request.app.state.jobs.start(
        work, kind=_KIND, owner=person_of(request).name, title=str(title), next_path=next_path
    )
    return redirect(request, f"/jobs/{job.job}")
