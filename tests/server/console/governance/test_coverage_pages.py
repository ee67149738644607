"""Coverage in the console: three people's steps, the same as the commands'."""

from __future__ import annotations

from governed_console import CAMPAIGN, Governed
from operators_console import Visit

from noren_audit.rights.coverage_check import attest_report, read_report
from noren_core.ledger.entries import EntryKind
from noren_server.coverage.opening import coverage_runs
from noren_server.coverage.runs import REPORT, Run


def computed(governed: Governed, person: Visit) -> Run:
    """A run that she began, when it is done."""
    answer = person.post(f"/coverage/{CAMPAIGN}/run")
    assert answer.status_code == 303, answer.text
    job = governed.console.app.state.jobs.newest(f"coverage {CAMPAIGN}")
    job.wait()
    assert (job.code, job.message) == ("", "")
    assert answer.headers["location"] == f"/jobs/{job.job}"
    return coverage_runs(governed.platform.directory).newest(CAMPAIGN)


def attestation(governed: Governed, run: Run) -> dict[str, tuple[str, bytes]]:
    said = attest_report(read_report(run.directory / REPORT), governed.auditor)
    return {"attestation": ("attestation.json", said.to_bytes())}


def test_a_report_is_computed_reviewed_and_attested_by_three_roles(governed: Governed) -> None:
    """Until the attestation is in the ledger the gate is shut, and the page says why in one sentence."""
    admin, officer = governed.console.signed_in("admin"), governed.console.signed_in("officer")
    auditor = governed.console.signed_in("auditor")
    assert (
        "The launch is blocked: no attested report is in the ledger."
        in admin.get(f"/coverage/{CAMPAIGN}").text
    )
    run = computed(governed, admin)
    path = f"/coverage/{CAMPAIGN}/{run.name}"
    assert "What happens next" in admin.get(path).text
    assert admin.post(f"{path}/review").status_code == 403
    assert officer.post(f"{path}/review").status_code == 303
    files = attestation(governed, run)
    assert officer.post("/coverage/attest", files=files).status_code == 403
    assert not governed.platform.ledger_store.entries(kind=EntryKind.COVERAGE)
    assert auditor.post("/coverage/attest", files=files).status_code == 303
    assert len(governed.platform.ledger_store.entries(kind=EntryKind.COVERAGE)) == 1
    page = officer.get(f"/coverage/{CAMPAIGN}").text
    assert "Nothing stands in the way" in page
    assert "The launch is blocked" not in page


def test_who_may_not_compute_is_refused(governed: Governed) -> None:
    """Nothing begins, and no run is there."""
    for name in ("modeller", "auditor", "boss"):
        assert governed.console.signed_in(name).post(f"/coverage/{CAMPAIGN}/run").status_code == 403
    assert coverage_runs(governed.platform.directory).runs(CAMPAIGN) == ()


def test_small_counts_are_not_shown(governed: Governed) -> None:
    """One late student is fewer than ten: the page says so and not how many; the exact report is a file."""
    admin, officer = governed.console.signed_in("admin"), governed.console.signed_in("officer")
    run = computed(governed, admin)
    assert run.report().body["classes"]["E1"] == 24
    page = officer.get(f"/coverage/{CAMPAIGN}/{run.name}").text
    for way in ("Consented before the change", "still showed the old text", "passes no consent screen"):
        assert way in page
    assert '<td class="n">24</td>' in page
    exact = officer.get(f"/coverage/{CAMPAIGN}/{run.name}/report.json")
    assert exact.content == (run.directory / REPORT).read_bytes()
    assert admin.get(f"/coverage/{CAMPAIGN}/{run.name}/report.json").status_code == 403


def test_an_attestation_of_nobody_who_counts_is_refused(governed: Governed) -> None:
    """The page does what the command does: whose signature it is, the ledger's side checks."""
    admin, officer = governed.console.signed_in("admin"), governed.console.signed_in("officer")
    run = computed(governed, admin)
    officer.post(f"/coverage/{CAMPAIGN}/{run.name}/review")
    governed.platform.config = type(governed.platform.config)(
        **{
            name: getattr(governed.platform.config, name)
            for name in governed.platform.config.__slots__
            if name != "auditors"
        }
    )
    auditor = governed.console.signed_in("auditor")
    answer = auditor.post("/coverage/attest", files=attestation(governed, run))
    assert (answer.status_code, "NOT_VERIFIED" in answer.text) == (422, True)
    assert not governed.platform.ledger_store.entries(kind=EntryKind.COVERAGE)


def test_the_page_of_a_run_in_japanese_names_the_three_ways(governed: Governed) -> None:
    """In the reader's language, the classes too."""
    admin = governed.console.signed_in("admin")
    run = computed(governed, admin)
    page = admin.get(f"/coverage/{CAMPAIGN}/{run.name}?lang=ja").text
    for words in ("変更前に同意し、その後確認されていない", "旧文面のままの画面", "同意画面を通らない経路"):
        assert words in page
