"""The way in: one link, one machine, one name and code; and who may see which page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from company_pages import HOME, AtDesk, words_of
from gated_company import CAMPAIGN, POSITION, GatedCompany

from noren_client.gate import staff
from noren_client.gate.staff import COMPANY_ROLES
from noren_core.crypto.secret import SecretBytes
from noren_core.rights.gate.roles import Action, Assignment, Permission, Role, permission
from noren_web.access import declared
from noren_web.localhost_entry import VALID_SECONDS

A = Action
ANYBODY: frozenset[Action] = frozenset()
PUBLIC = None
# What each page does, in the words of the table of actions; None: nobody signed in is needed.
ACTIONS: dict[tuple[str, str], frozenset[Action] | None] = {
    ("GET", "/sign-in"): PUBLIC,
    ("GET", "/sign-in/again"): PUBLIC,
    ("POST", "/sign-in"): PUBLIC,
    ("POST", "/sign-out"): PUBLIC,
    ("GET", "/first-administrator"): PUBLIC,
    ("POST", "/first-administrator"): PUBLIC,
    ("GET", "/"): ANYBODY,
    ("GET", "/staff"): frozenset({A.MANAGE_STAFF}),
    ("POST", "/staff/add"): frozenset({A.MANAGE_STAFF}),
    ("GET", "/staff/removal"): frozenset({A.MANAGE_STAFF}),
    ("POST", "/staff/removal"): frozenset({A.MANAGE_STAFF}),
    ("POST", "/staff/remove"): frozenset({A.MANAGE_STAFF}),
    ("GET", "/season"): frozenset({A.READ_OWN_LEDGER}),
    ("GET", "/season/plan"): frozenset({A.JOIN_ROUND}),
    ("POST", "/season/plan"): frozenset({A.JOIN_ROUND}),
    ("POST", "/season/accept"): frozenset({A.JOIN_ROUND}),
    ("POST", "/season/prepare"): frozenset({A.JOIN_ROUND}),
    ("POST", "/season/score"): frozenset({A.JOIN_ROUND}),
    ("POST", "/season/ask"): frozenset({A.READ_OWN_LEDGER}),
    ("GET", "/decisions"): frozenset({A.SEAL_DECISION}),
    ("GET", "/decisions/{campaign}/{position}"): frozenset({A.SEAL_DECISION}),
    ("POST", "/decisions/{campaign}/{position}/seal"): frozenset({A.SEAL_DECISION}),
    ("GET", "/decisions/{campaign}/{position}/reversal"): frozenset({A.SEAL_DECISION}),
    ("POST", "/decisions/{campaign}/{position}/reversal"): frozenset({A.SEAL_DECISION}),
    ("GET", "/follow-up"): frozenset({A.VIEW_SCORE}),
    ("GET", "/follow-up/{campaign}/{position}"): frozenset({A.VIEW_SCORE}),
    ("POST", "/follow-up/{campaign}/{position}"): frozenset({A.VIEW_SCORE}),
    ("POST", "/follow-up/{campaign}/{position}/action"): frozenset({A.PLAN_FOLLOW_UP}),
    ("GET", "/rights"): frozenset({A.ANSWER_DISCLOSURE, A.CERTIFY_DELETION}),
    ("POST", "/rights/answer"): frozenset({A.ANSWER_DISCLOSURE}),
    ("POST", "/rights/orders"): frozenset({A.CERTIFY_DELETION}),
    ("GET", "/rights/erasure"): frozenset({A.CERTIFY_DELETION}),
    ("POST", "/rights/erasure"): frozenset({A.CERTIFY_DELETION}),
    ("POST", "/rights/retention"): frozenset({A.CERTIFY_DELETION}),
    ("GET", "/rights/hold"): frozenset({A.CERTIFY_DELETION}),
    ("POST", "/rights/hold"): frozenset({A.CERTIFY_DELETION}),
    ("GET", "/rights/certificates/{order}"): frozenset({A.CERTIFY_DELETION}),
    ("GET", "/rights/comparison"): frozenset({A.ANSWER_DISCLOSURE}),
    ("POST", "/rights/comparison"): frozenset({A.ANSWER_DISCLOSURE}),
    ("GET", "/budget"): frozenset({A.READ_OWN_LEDGER}),
}
OTHERS = ("/machine", "/data", "/enter", "/jobs/")
MEMBERS = {
    "ada": Role.COMPANY_ADMIN,
    "dan": Role.DECIDER,
    "fay": Role.FOLLOW_UP,
    "olga": Role.COMPANY_ML_OPERATOR,
    "pia": Role.PRIVACY_CONTACT,
}


def allowed(actions: frozenset[Action]) -> frozenset[str]:
    return frozenset(
        role.value
        for role in COMPANY_ROLES
        for action in actions
        if permission(action, role) is Permission.YES
    )


def test_every_route_agrees_with_the_table_of_actions(desk: AtDesk) -> None:
    """A page lets in exactly the roles that the table gives its action; no page is missing here."""
    seen = set()
    for route, access in declared(desk.site):
        if route.path.startswith(OTHERS):
            assert access.public or access.roles <= {role.value for role in COMPANY_ROLES}, route.path
            continue
        for method in route.methods - {"HEAD"}:
            actions = ACTIONS[method, route.path]
            seen.add((method, route.path))
            assert access.public == (actions is PUBLIC), route.path
            if actions is not PUBLIC:
                assert access.roles == allowed(actions), route.path
    assert seen == ACTIONS.keys()


@pytest.mark.parametrize("member", MEMBERS)
def test_roles_and_routes(scored: GatedCompany, desk: AtDesk, member: str) -> None:
    """Whoever may not is refused each page and each form, whatever she sends; who may is not."""
    assert desk.sign_in(member).headers["location"] == "/"
    for (method, pattern), actions in ACTIONS.items():
        if actions is PUBLIC:
            continue
        path = pattern.format(campaign=CAMPAIGN, position=POSITION, order="ab" * 16)
        is_allowed = not actions or MEMBERS[member].value in allowed(actions)
        answer = desk.get(path) if method == "GET" else desk.post("/", path)
        refused = answer.status_code == 403 and "ROLE_FORBIDDEN" in answer.text
        assert refused is not is_allowed, (method, path, answer.status_code)


def test_nobody_signed_in_sees_nothing(desk: AtDesk) -> None:
    """Without a sign-in every page leads to it, and no form is taken."""
    desk.come_in()
    for (method, pattern), actions in ACTIONS.items():
        if actions is PUBLIC:
            continue
        path = pattern.format(campaign=CAMPAIGN, position=POSITION, order="ab" * 16)
        if method == "GET":
            assert desk.get(path).headers["location"] == "/sign-in", path
        else:
            assert desk.post("/sign-in", path).status_code == 401, path


def test_a_link_works_once_and_for_a_while(company: GatedCompany, desk: AtDesk) -> None:
    """The same link again, an old one and an invented one are refused; without one there is no page."""
    assert desk.get("/sign-in").status_code == 403
    link = desk.entry.new_path()
    assert desk.get(link).status_code == 303
    assert desk.get("/sign-in").status_code == 200
    desk.client.cookies.clear()
    for used in (link, "/enter?token=invented", "/enter"):
        answer = desk.get(used)
        assert answer.status_code == 403
        assert "ENTRY_REFUSED" in answer.text
    late = desk.entry.new_path()
    company.clock.now += VALID_SECONDS + 1
    assert desk.get(late).status_code == 403


def test_another_host_is_refused(desk: AtDesk) -> None:
    """A name that was rebound to this machine gets no page, nor does another port."""
    desk.sign_in("ada")
    for host in ("example.org", "127.0.0.1", "127.0.0.1:80", "localhost:9", "[::1]:8765"):
        assert desk.get("/", host=host).status_code == 421, host
    assert desk.get("/", host="localhost:8765").status_code in {200, 303, 403}


def test_a_form_of_another_site_is_refused(desk: AtDesk) -> None:
    """Another origin, no origin, a cross-site fetch and a wrong token change nothing."""
    desk.sign_in("ada")
    token = re.search(r'name="csrf" value="(\w+)"', desk.get("/staff").text)
    assert token is not None
    form = {"csrf": token[1], "member": "fay", "confirmation": "fay"}
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {},
        {"origin": HOME, "sec-fetch-site": "cross-site"},
    ):
        assert desk.client.post("/staff/remove", data=form, headers=headers).status_code == 403
    wrong = {**form, "csrf": "0" * 64}
    assert desk.client.post("/staff/remove", data=wrong, headers={"origin": HOME}).status_code == 403
    assert "fay" in desk.text("/staff")
    assert desk.client.post("/staff/remove", data=form, headers={"origin": HOME}).status_code == 303
    assert "fay" not in desk.text("/staff").split("Add somebody")[0].replace("fay is removed", "")


def test_a_session_ends_after_fifteen_minutes_without_use(company: GatedCompany, desk: AtDesk) -> None:
    """Used, it goes on; unused, it takes a new link."""
    desk.sign_in("ada")
    for _ in range(3):
        company.clock.now += 14 * 60
        assert desk.get("/").status_code == 200
    company.clock.now += 15 * 60 + 1
    assert desk.get("/").status_code == 403


def test_signing_in_changes_the_cookie(desk: AtDesk) -> None:
    """A cookie that was known before is worth nothing afterwards."""
    desk.come_in()
    before = dict(desk.client.cookies)
    desk.post("/sign-in", "/sign-in", name="ada", code="correct horse battery")
    assert dict(desk.client.cookies) != before
    desk.client.cookies.clear()
    desk.client.cookies.update(before)
    assert desk.get("/").status_code == 403


def test_wrong_codes_are_one_answer_and_lock(company: GatedCompany, desk: AtDesk) -> None:
    """A wrong name and a wrong code read the same; after five wrong codes the right one waits."""
    desk.come_in()
    pages = [desk.post("/sign-in", "/sign-in", name=name, code="wrong wrong") for name in ("ada", "zoe")]
    texts = [words_of(page).replace("ada", "NAME").replace("zoe", "NAME") for page in pages]
    assert texts[0] == texts[1]
    assert [page.status_code for page in pages] == [403, 403]
    for _ in range(4):
        desk.post("/sign-in", "/sign-in", name="ada", code="wrong wrong")
    answer = desk.post("/sign-in", "/sign-in", name="ada", code="correct horse battery")
    assert "fifteen minutes" in words_of(answer)
    company.clock.now += 901
    assert desk.sign_in("ada").status_code == 303


def test_the_first_administrator(tmp_path: Path) -> None:
    """In an empty directory somebody makes herself administrator, once; then she is asked to sign in."""
    directory = tmp_path / "new"
    desk = AtDesk(directory, lambda: 1_800_000_000)
    desk.come_in()
    assert desk.get("/").headers["location"] == "/sign-in"
    assert desk.get("/sign-in").headers["location"] == "/first-administrator"
    page = "/first-administrator"
    short = desk.post(page, page, name="ada", code="short", code_again="short")
    assert short.status_code == 422
    assert "At least 8" in words_of(short)
    other = desk.post(page, page, name="ada", code="long enough", code_again="long enougH")
    assert "not the same" in words_of(other)
    badly = desk.post(page, page, name="Ada Lovelace", code="long enough", code_again="long enough")
    assert badly.status_code == 422
    assert not staff.register(directory).members()
    made = desk.post(page, page, name="ada", code="long enough", code_again="long enough")
    assert made.headers["location"] == "/"
    assert "does not take part yet" in desk.text("/")
    second = AtDesk(directory, lambda: 1_800_000_000)
    second.come_in()
    assert second.get(page).headers["location"] == "/sign-in"
    again = second.post("/sign-in", page, name="eve", code="long enough", code_again="long enough")
    assert again.status_code == 403
    assert [member.name for member in staff.register(directory).members()] == ["ada"]


def test_whom_an_administrator_removes_or_changes_is_out(company: GatedCompany, desk: AtDesk) -> None:
    """The register counts at once: a removed member, one with a new code, and a role that was taken."""
    fay = AtDesk(company.directory, lambda: company.clock.now)
    fay.sign_in("fay")
    assert fay.get("/follow-up").status_code == 200
    company.hire("fay", Assignment(Role.FOLLOW_UP))  # the same code, under another salt
    assert fay.get("/follow-up").status_code == 403
    fay.sign_in("fay")
    assert fay.get("/follow-up").status_code == 200
    staff.register(company.directory).remove("fay")
    assert fay.get("/follow-up").status_code == 403


def test_staff_page(company: GatedCompany, desk: AtDesk) -> None:
    """An administrator adds somebody for one position, is refused two duties for one person, and removes."""
    desk.sign_in("ada")
    new = {"code": "another code", "code_again": "another code"}
    both = desk.post("/staff", "/staff/add", name="eve", roles=["decider", "follow-up"], **new)
    assert both.status_code == 409
    assert desk.post("/staff", "/staff/add", name="eve", **new).status_code == 422
    other = desk.post("/staff", "/staff/add", name="eve", roles=["auditor"], **new)
    assert other.status_code == 422
    added = desk.post("/staff", "/staff/add", name="eve", roles=["follow-up"], position=POSITION, **new)
    assert added.status_code == 303
    assert f"({POSITION} )" in desk.text("/staff").replace("  ", " ")
    signed = staff.sign_in(company.directory, "eve", SecretBytes(b"another code"), now=company.clock.now)
    assert signed.name == "eve"
    asked = desk.post("/staff", "/staff/removal", member="eve")
    assert "stays recorded" in words_of(asked)
    assert desk.post("/staff", "/staff/remove", member="eve", confirmation="no").status_code == 422
    assert desk.post("/staff", "/staff/remove", member="eve", confirmation="eve").status_code == 303
    last = desk.post("/staff", "/staff/remove", member="ada", confirmation="ada")
    assert last.status_code == 403
    assert "ada" in desk.text("/staff")


def test_signing_in_again(company: GatedCompany, desk: AtDesk) -> None:
    """What changes much asks for the code once more; her name is there, and the right code refreshes."""
    desk.sign_in("ada")
    company.clock.now += 400
    again = desk.get("/sign-in/again")
    assert 'value="ada"' in again.text
    before = dict(desk.client.cookies)
    desk.post("/sign-in/again", "/sign-in", name="ada", code="correct horse battery")
    assert dict(desk.client.cookies) != before
    assert desk.get("/staff").status_code == 200


def test_the_page_that_was_asked_for_follows_the_sign_in(desk: AtDesk) -> None:
    """A link that somebody opened before signing in is where she goes on."""
    desk.come_in()
    assert desk.get("/budget").headers["location"] == "/sign-in"
    answer = desk.post("/sign-in", "/sign-in", name="ada", code="correct horse battery")
    assert answer.headers["location"] == "/budget"


def test_signing_out(desk: AtDesk) -> None:
    """The next page is the sign-in page."""
    desk.sign_in("ada")
    assert desk.post("/", "/sign-out").headers["location"] == "/sign-in"
    assert desk.get("/").headers["location"] == "/sign-in"


def test_both_languages(desk: AtDesk) -> None:
    """The browser's language, or the chosen one, on every page of the frame."""
    desk.come_in()
    japanese = desk.get("/sign-in", **{"accept-language": "ja"}).text
    assert 'lang="ja"' in japanese
    assert "サインイン" in japanese
    assert 'lang="en"' in desk.get("/sign-in?lang=en").text
