"""Policies and screens in the console: drafting and approving are two roles, and keys of people stay away."""

from __future__ import annotations

from contextlib import closing

import pytest
from active_policy import notice_facts
from governed_console import Governed
from operators_console import NOW, Console, Visit

from noren_core.crypto.identity import SigningKey
from noren_core.rights.locales import Locale
from noren_core.rights.notices.notice_texts import packaged_policy_text
from noren_core.rights.notices.policy import parse_policy
from noren_core.rights.notices.policy_approval import ApproverRole, approve
from noren_server.policies import activation
from noren_server.policies.policy_book import PolicyBook
from noren_server.policies.screen_register import ScreenRegister


@pytest.fixture
def policy_text() -> bytes:
    text = packaged_policy_text().decode().replace('policy = "packaged"', 'policy = "first"')
    return text.replace('season = "season"', 'season = "2027"').replace("DPIA-MISSING", "DPIA-1").encode()


def notices_text() -> bytes:
    lines = ['[[notice]]\ncompany = "acme"\nposition = "engineer"']
    for locale, values in notice_facts("acme", "engineer").values.items():
        lines.append(f"[notice.{Locale(locale)}]")
        lines += [f'{name} = "{value}"' for name, value in values.items()]
    return "\n".join(lines).encode()


def state(console: Console, policy: str = "first") -> str:
    with closing(PolicyBook.open(console.platform.directory)) as book:
        return str(book.status(policy, at=NOW))


def approved(console: Console, policy_text: bytes, boss: Visit, officer: Visit) -> list[int]:
    """Two people register, sign at home and bring their approvals; the answers' status."""
    version, answers = parse_policy(policy_text), []
    for person, role in (("p1", ApproverRole.PRIVACY), ("p2", ApproverRole.LEGAL)):
        key = SigningKey.generate()
        fields = {"person": person, "role": role.value, "public_key": key.public_key.hex()}
        assert boss.post("/policies/staff/add", fields).status_code == 303
        data = approve(version, person=person, role=role, at=NOW, key=key).to_bytes()
        answers.append(officer.post("/policies/approve", files={"approval": ("a.json", data)}).status_code)
    return answers


def test_a_policy_comes_into_force_by_two_roles_and_two_signatures(
    empty: Console, policy_text: bytes
) -> None:
    """Draft, review, facts, two approvals, verified screens, and a typed word; each step by who may."""
    admin, officer = empty.signed_in("admin"), empty.signed_in("officer")
    boss = empty.signed_in("boss")
    file = {"policy": ("policy.toml", policy_text)}
    assert officer.post("/policies/add", files=file).status_code == 403
    checked = admin.post("/policies/check", files=file)
    assert "Nothing keeps this file from being reviewed" in checked.text
    assert state(empty) == "None"  # checking keeps nothing
    assert admin.post("/policies/add", files=file).status_code == 303
    assert state(empty) == "REVIEWED"
    assert admin.post("/policies/notices", files={"notices": ("n.toml", notices_text())}).status_code == 303
    assert approved(empty, policy_text, boss, officer) == [303, 303]
    assert state(empty) == "APPROVED"
    early = officer.post("/policies/first/activate", {"confirmation": "first"})
    assert (early.status_code, "SCREEN_UNVERIFIED" in early.text) == (409, True)
    with (
        closing(PolicyBook.open(empty.platform.directory)) as book,
        closing(ScreenRegister.open(empty.platform.directory)) as register,
    ):
        activation.register_own_screens(book, register, book.version("first"), at=NOW)
    wrong = officer.post("/policies/first/activate", {"confirmation": "last"})
    assert (wrong.status_code, "CONFIRMATION_WRONG" in wrong.text) == (422, True)
    assert admin.post("/policies/first/activate", {"confirmation": "first"}).status_code == 403
    assert officer.post("/policies/first/activate", {"confirmation": "first"}).status_code == 303
    assert state(empty) == "ACTIVE"
    assert "in force" in officer.get("/policies/first").text


def test_one_signature_is_not_enough(empty: Console, policy_text: bytes) -> None:
    """The same person in another role counts as one."""
    admin, officer, boss = (empty.signed_in(name) for name in ("admin", "officer", "boss"))
    admin.post("/policies/add", files={"policy": ("policy.toml", policy_text)})
    key = SigningKey.generate()
    fields = {"person": "p1", "role": "privacy", "public_key": key.public_key.hex()}
    boss.post("/policies/staff/add", fields)
    approval = approve(
        parse_policy(policy_text), person="p1", role=ApproverRole.PRIVACY, at=NOW, key=key
    ).to_bytes()
    officer.post("/policies/approve", files={"approval": ("a.json", approval)})
    refused = officer.post("/policies/first/activate", {"confirmation": "first"})
    assert (refused.status_code, "SECOND_APPROVER_REQUIRED" in refused.text) == (409, True)


def test_only_the_administrator_says_who_may_approve(empty: Console) -> None:
    """Who could register both keys of a pair would approve alone."""
    fields = {"person": "p1", "role": "privacy", "public_key": "00" * 32}
    for name in ("officer", "admin", "auditor", "modeller"):
        assert empty.signed_in(name).post("/policies/staff/add", fields).status_code == 403
    boss = empty.signed_in("boss")
    assert boss.post("/policies/staff/add", fields).status_code == 303
    assert boss.post("/policies/staff/remove", {"person": "p1"}).status_code == 303
    with closing(PolicyBook.open(empty.platform.directory)) as book:
        assert book.staff() == {}


def test_a_draft_with_objections_is_named_and_kept_out(empty: Console, policy_text: bytes) -> None:
    """With the code of what contradicts the software."""
    broken = policy_text.replace(b"identifiable_provision = true", b"identifiable_provision = false")
    admin = empty.signed_in("admin")
    file = {"policy": ("policy.toml", broken)}
    assert "POLICY_FLOW_CONTRADICTION" in admin.post("/policies/check", files=file).text
    answer = admin.post("/policies/add", files=file)
    assert (answer.status_code, "POLICY_FLOW_CONTRADICTION" in answer.text) == (422, True)
    assert state(empty) == "DRAFT"


def test_ending_a_policy_asks_for_its_name(governed: Governed) -> None:
    """And ends it then, at once."""
    officer = governed.console.signed_in("officer")
    assert officer.post("/policies/policy-2026/retire", {"confirmation": "x"}).status_code == 422
    assert state(governed.console, "policy-2026") == "ACTIVE"
    assert officer.post("/policies/policy-2026/retire", {"confirmation": "policy-2026"}).status_code == 303
    assert state(governed.console, "policy-2026") == "RETIRED"


def test_a_material_change_says_who_is_asked_again(governed: Governed) -> None:
    """A version that keeps data longer, beside the one in force: by purpose, with what changed."""
    text = packaged_policy_text().decode().replace('policy = "packaged"', 'policy = "longer"')
    text = text.replace('season = "season"', 'season = "2026"').replace("DPIA-MISSING", "DPIA-2")
    before = parse_policy(text.encode())
    days = max(terms.retention_days for terms in before.terms.values())
    longer = text.replace(f"retention_days = {days}", f"retention_days = {days + 30}")
    assert longer != text
    admin = governed.console.signed_in("admin")
    assert admin.post("/policies/add", files={"policy": ("p.toml", longer.encode())}).status_code == 303
    page = admin.get("/policies/longer").text
    assert "kept longer" in page
    assert "asked again" in page
    assert "consents go on" in page


def test_the_matrix_and_a_text_are_shown(governed: Governed) -> None:
    """Each clause of each screen, and the words that stood there."""
    officer = governed.console.signed_in("officer")
    with closing(ScreenRegister.open(governed.platform.directory)) as register:
        version = register.standing("policy-2026")[0]
    matrix = officer.get("/screens/matrix/policy-2026").text
    assert "C15" in matrix
    assert matrix.count("<tr>") >= 8
    assert "privacy@jobs.example" in officer.get(f"/screens/text/{version.sha256}").text


def test_an_unknown_text_raises_its_alarm(governed: Governed) -> None:
    """On the page of screens, and on that of policies."""
    with closing(ScreenRegister.open(governed.platform.directory)) as register:
        register.note_shown("ab" * 32, at=NOW)
    officer = governed.console.signed_in("officer")
    assert "ab" * 32 in officer.get("/screens").text
    assert "Consents name texts that nobody has looked at: 1." in officer.get("/policies").text


def test_a_text_that_a_person_read_is_verified_by_the_officer_alone(governed: Governed) -> None:
    """The consent admin verifies what our own pages say, and nothing else."""
    with (
        closing(PolicyBook.open(governed.platform.directory)) as book,
        closing(ScreenRegister.open(governed.platform.directory)) as register,
    ):
        version = book.version("policy-2026")
        register.retire("policy-2026", at=NOW - 10)
        for screen in activation.own_screens(book, version):
            reading = activation.read_page(screen.html)
            expected = activation.consent_screen.expected_screen(
                version, screen.facts, screen.place.locale, screen.route
            )
            register.observe(screen.place, reading, expected, at=NOW)
        waiting = register.standing("policy-2026")[0].sha256
    admin, officer = governed.console.signed_in("admin"), governed.console.signed_in("officer")
    assert admin.post("/screens/verify-text", {"sha256": waiting}).status_code == 403
    assert officer.post("/screens/verify-text", {"sha256": waiting}).status_code == 303
    assert admin.post("/screens/verify").status_code == 303
    with closing(ScreenRegister.open(governed.platform.directory)) as register:
        assert {item.state.value for item in register.standing("policy-2026")} == {"VERIFIED"}


def test_looking_at_screens_is_a_job_with_a_real_browser(empty: Console, policy_text: bytes) -> None:
    """By who may; what it saw waits to be verified, and our own words are verified by one button."""
    admin = empty.signed_in("admin")
    admin.post("/policies/add", files={"policy": ("policy.toml", policy_text)})
    admin.post("/policies/notices", files={"notices": ("n.toml", notices_text())})
    assert empty.signed_in("auditor").post("/screens/crawl").status_code == 403
    answer = admin.post("/screens/crawl", {"policy": "first"})
    job = empty.app.state.jobs.newest("screens")
    assert answer.headers["location"] == f"/jobs/{job.job}"
    job.wait()
    assert (job.code, job.message) == ("", "")
    assert "Texts that wait and say word for word what our own pages say: 4." in admin.get("/screens").text
    assert admin.post("/screens/verify").status_code == 303
    with closing(ScreenRegister.open(empty.platform.directory)) as register:
        assert {item.state.value for item in register.standing("first")} == {"VERIFIED"}


def test_an_address_without_tls_is_not_looked_at(empty: Console) -> None:
    """The job ends with the crawler's own refusal, and the page shows its code."""
    admin = empty.signed_in("admin")
    assert admin.post("/screens/crawl", {"addresses": "http://example.com/"}).status_code == 303
    empty.app.state.jobs.newest("screens").wait()
    assert "BAD_DATA" in admin.get("/screens").text
