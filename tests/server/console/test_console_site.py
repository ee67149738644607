"""Every page of the whole console: who comes in, what a form needs, and that each form is in the trail."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute
from operators_console import HOST, Console, Visit

from noren_core.errors import LocalProtocolError
from noren_server.console.accounts import ConsoleRole, excluding_pairs
from noren_server.console.desk import ATTEMPTS
from noren_server.console.trail import BEGUN
from noren_web.access import FRESH_SECONDS, Access, declared, methods_of
from noren_web.sessions import ABSOLUTE_SECONDS, IDLE_SECONDS

NOBODY = "nobody"
_PUBLIC = {
    *("/sign-in", "/sign-out", "/join", "/join/finish", "/enter"),
    *("/sign-in/provider", "/sign-in/provider/answer"),
}


def routes(console: Console) -> Iterator[tuple[str, APIRoute, Access]]:
    """Every method and route of the whole site, also those of other modules than the frame's."""
    for route, access in declared(console.app):
        for method in methods_of(route) - {"HEAD"}:
            yield method, route, access


def address(route: APIRoute) -> str:
    """The route's path, with something in place of what varies."""
    names = [name for _, name, _, _ in string.Formatter().parse(route.path) if name]
    return route.path.format(**{name.partition(":")[0]: "x" for name in names})


def people(console: Console) -> dict[str, Visit]:
    """Somebody of each role, and nobody."""
    found = {NOBODY: console.visitor(), ConsoleRole.ADMINISTRATOR.value: console.signed_in("boss")}
    for role in ConsoleRole:
        if role is not ConsoleRole.ADMINISTRATOR:
            console.add_at_provider(f"one-{role}", role)
            found[role.value] = console.signed_in(f"one-{role}")
    return found


def code_of(text: str) -> str:
    """The code that an error page says."""
    found = re.search(r"\b(ROLE_FORBIDDEN|NOT_SIGNED_IN|BREAK_GLASS_REQUIRED)\b", text)
    return found.group(1) if found else ""


def test_roles_and_pages(console: Console) -> None:
    """Whoever has none of a page's roles is refused there, whoever has one is not, for each of them.

    A form that is let in has no fields, so its handler refuses it as a form; nothing is done.
    """
    visits, seen = people(console), 0
    for who, visit in visits.items():
        token = visit.token()
        for method, route, access in routes(console):
            if route.path == "/sign-out":
                continue
            if method == "POST":
                answer = visit.post(address(route), {"csrf": token})
            else:
                answer = visit.get(address(route))
            code, seen = code_of(answer.text), seen + 1
            place = (who, method, route.path, answer.status_code)
            if access.public:
                assert code == "", place
            elif who == NOBODY:
                signs_in = answer.status_code == 303 and answer.headers["location"] == "/sign-in"
                assert signs_in or (method == "POST" and code in {"NOT_SIGNED_IN", ""}), place
                assert method == "GET" or answer.status_code in {401, 429}, place
            elif access.roles and who not in access.roles:
                assert (answer.status_code, code) == (403, "ROLE_FORBIDDEN"), place
            else:
                assert answer.status_code not in {401, 403}, place
                assert answer.status_code < 500 or answer.status_code == 503, (place, answer.text[-600:])
    assert seen == len(visits) * (len(list(routes(console))) - 1)


def test_what_is_public(console: Console) -> None:
    """Nothing but the ways in and out."""
    assert {route.path for _, route, access in routes(console) if access.public} == _PUBLIC


def test_every_change_names_roles(console: Console) -> None:
    """What everybody may post to who is signed in is her own account; an auditor changes nothing else."""
    for method, route, access in routes(console):
        if method == "POST" and not access.public:
            own = route.path.startswith("/account/")
            assert own == (not access.roles), route.path
            assert not access.roles or access.roles <= set(ConsoleRole), route.path


def test_nobody_who_gives_roles_does_the_work(console: Console) -> None:
    """What an administrator may post to is people, and proposing or confirming that a company goes."""
    mine = {
        route.path
        for method, route, access in routes(console)
        if method == "POST" and ConsoleRole.ADMINISTRATOR in access.roles
    }
    people_and_ends = ("/people/", "/policies/staff/", "/companies/revoke")
    assert {path for path in mine if not path.startswith(people_and_ends)} == set()


def test_every_form_is_in_the_trail(console: Console) -> None:
    """With who, which, and how it ended, for each form of the whole console; also one that was refused."""
    visits = people(console)
    trail = console.desk.trail
    for who, visit in visits.items():
        if who == NOBODY:
            continue
        token, name = visit.token(), "boss" if who == ConsoleRole.ADMINISTRATOR else f"one-{who}"
        for method, route, _ in routes(console):
            if method != "POST" or route.path in {"/sign-out", "/sign-in", "/join/finish"}:
                continue
            before = trail.head().count
            visit.post(address(route), {"csrf": token})
            newest = trail.newest()[0]
            assert trail.head().count == before + 2, route.path
            assert (newest.who, newest.action) == (name, route.path)
            assert newest.outcome not in {BEGUN, "INTERNAL"}, route.path
    trail.verify()


def test_a_form_of_another_session_is_in_the_trail_as_refused(console: Console) -> None:
    """Somebody who is led to send a form shows in the trail."""
    visit = console.signed_in("boss")
    assert visit.post("/people/add", {"csrf": "0" * 64, "name": "x"}).status_code == 403
    assert console.desk.trail.newest()[0].outcome == "CSRF_REJECTED"
    other = console.visitor().token()
    assert visit.post("/people/add", {"csrf": other, "name": "x"}).status_code == 403
    assert len(console.desk.accounts.everybody()) == 1


def test_no_form_of_another_site(console: Console) -> None:
    """Whatever it is, without our origin it is refused before it is looked at."""
    visit = console.signed_in("boss")
    token = visit.token()
    for method, route, _ in routes(console):
        if method == "POST":
            for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {}):
                answer = visit.client.post(address(route), data={"csrf": token}, headers=headers)
                assert answer.status_code == 403, route.path
    assert console.desk.trail.head().count == 0


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", f"{HOST}:8443", f"{HOST}.evil.example", ""])
def test_another_host_is_not_answered(console: Console, host: str) -> None:
    """DNS rebinding gets no page and no cookie."""
    answer = console.visitor().get("/sign-in", headers={"host": host})
    assert answer.status_code == 421
    assert "set-cookie" not in answer.headers


def test_the_cookie(console: Console) -> None:
    """Bound to this host, over TLS, out of reach of scripts; the page says so to the browser for a year."""
    answer = console.visitor().get("/sign-in")
    name, *flags = answer.headers["set-cookie"].split("; ")
    assert name.startswith("__Host-noren-console=")
    assert set(flags) == {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"}
    assert "max-age=31536000" in answer.headers["strict-transport-security"]


def test_signing_in_changes_the_cookie(console: Console) -> None:
    """One that somebody planted, or saw before, is worth nothing afterwards."""
    secret = console.add("yuki", ConsoleRole.PRIVACY_OFFICER)
    console.clock.now += 30
    visit = console.visitor()
    visit.get("/sign-in")
    planted = visit.client.cookies.get("__Host-noren-console")
    answer = visit.sign_in("yuki", code_now(console, secret))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert visit.client.cookies.get("__Host-noren-console") != planted
    attacker = console.visitor()
    attacker.client.cookies.set("__Host-noren-console", planted or "", domain=HOST, path="/")
    assert attacker.get("/account").headers["location"] == "/sign-in"


def test_where_she_wanted_to_go(console: Console) -> None:
    """The page that she asked for before she signed in."""
    secret = console.add("yuki", ConsoleRole.PRIVACY_OFFICER)
    console.clock.now += 30
    visit = console.visitor()
    assert visit.get("/trail").headers["location"] == "/sign-in"
    assert visit.sign_in("yuki", code_now(console, secret)).headers["location"] == "/trail"


def test_a_wrong_answer_says_nothing(console: Console) -> None:
    """The same page for a wrong name and a wrong password; what was typed is in neither trail nor page."""
    console.add("yuki", ConsoleRole.PRIVACY_OFFICER)
    typed = "my secret typed by mistake"
    pages = []
    for name in ("yuki", "nobody"):
        answer = console.visitor().sign_in(name, "000000", password=typed)
        assert answer.status_code == 401
        assert typed not in answer.text
        pages.append(re.sub(r'value="[^"]*"', "", answer.text))
    assert pages[0] == pages[1]
    records = console.desk.trail.newest()
    assert [record.outcome for record in records] == ["NOT_RECOGNISED"] * 2
    handle = console.desk.accounts.account("yuki").handle
    assert [record.about for record in records] == ["", f"person:{handle}"]


def test_sign_ins_are_counted_by_address(console: Console) -> None:
    """The next one after `ATTEMPTS` is refused before anything is computed; somebody signed in goes on."""
    visit = console.visitor()
    token = visit.token()
    codes = [visit.post("/join", {"csrf": token, "name": "x", "code": "y"}) for _ in range(ATTEMPTS + 1)]
    assert [answer.status_code for answer in codes] == [401] * ATTEMPTS + [429]
    assert console.signed_in("boss").post("/people/add", {"name": "yuki"}).status_code == 422
    console.clock.now += 601
    assert visit.post("/join", {"name": "x", "code": "y"}).status_code == 401


@pytest.mark.parametrize(("seconds", "step"), [(IDLE_SECONDS + 1, 1), (ABSOLUTE_SECONDS + 1, 60)])
def test_a_session_ends(console: Console, seconds: int, step: int) -> None:
    """Without use, and in any case."""
    visit = console.signed_in("boss")
    for _ in range(step):
        console.clock.now += seconds // step
        visit.get("/account")
    console.clock.now += step
    assert visit.get("/account").headers.get("location") == "/sign-in"


def test_another_role_ends_sessions_at_once(console: Console) -> None:
    """Also if another program changed it; what she holds of the old pages is worth nothing."""
    console.add_at_provider("yuki", ConsoleRole.PRIVACY_OFFICER)
    visit = console.signed_in("yuki")
    token = visit.token()
    assert visit.get("/enrolment").status_code == 200
    console.desk.accounts.change_roles("yuki", [ConsoleRole.CONSENT_ADMIN])
    assert visit.post("/enrolment/reject", {"csrf": token, "company": "akane"}).status_code == 401
    assert visit.get("/enrolment").headers["location"] == "/sign-in"


def test_what_gives_roles_asks_for_a_fresh_sign_in(console: Console) -> None:
    """A browser that was left open for a while adds nobody."""
    visit = console.signed_in("boss")
    console.clock.now += FRESH_SECONDS + 1
    answer = visit.post("/people/add", {"name": "mallory", "roles": ["privacy-officer"]})
    assert answer.status_code == 401
    assert visit.get("/people/add").headers["location"] == "/sign-in/again"
    assert visit.get("/sign-in/again").status_code == 200
    assert len(console.desk.accounts.everybody()) == 1


def test_two_administrators_give_roles_together(console: Console) -> None:
    """One proposes, the other confirms; alone neither adds, changes, nor takes an account over."""
    console.add_at_provider("second", ConsoleRole.ADMINISTRATOR)
    console.add_at_provider("yuki", ConsoleRole.PRIVACY_OFFICER)
    boss, second = console.signed_in("boss"), console.signed_in("second")
    accounts = console.desk.accounts
    handle = accounts.account("yuki").handle
    boss.post("/people/add", {"name": "mallory", "roles": ["auditor"]})
    boss.post("/people/roles", {"person": handle, "roles": ["ml-operator"]})
    boss.post("/people/renew", {"person": handle})
    waiting = {item.kind: item for item in console.desk.proposals.waiting()}
    assert len(waiting) == 3
    assert {account.name for account in accounts.everybody()} == {"boss", "second", "yuki"}
    assert accounts.account("yuki").roles == (ConsoleRole.PRIVACY_OFFICER,)
    for item in waiting.values():
        answer = boss.post("/people/confirm", {"proposal": item.proposal, "kind": item.kind})
        assert "SECOND_PERSON_REQUIRED" in answer.text
        answer = second.post("/people/confirm", {"proposal": item.proposal, "kind": item.kind})
        assert answer.status_code == 303
    assert accounts.account("mallory").roles == (ConsoleRole.AUDITOR,)
    assert accounts.account("yuki").roles == (ConsoleRole.ML_OPERATOR,)


@pytest.mark.parametrize("pair", excluding_pairs(), ids="+".join)
def test_no_page_gives_roles_that_exclude_each_other(
    console: Console, pair: tuple[ConsoleRole, ConsoleRole]
) -> None:
    """The page asks the same function as the command."""
    answer = console.signed_in("boss").post("/people/add", {"name": "yuki", "roles": list(pair)})
    assert (answer.status_code, "SEPARATION_OF_DUTIES" in answer.text) == (409, True)
    with pytest.raises(LocalProtocolError):
        console.desk.accounts.account("yuki")


def test_joining_through_the_pages(console: Console) -> None:
    """From the administrator's page to the first own page; the code and the secret are shown once."""
    boss = console.signed_in("boss")
    boss.post("/people/add", {"name": "yuki", "roles": ["privacy-officer"]})
    code = found(r"<code>([0-9a-f]{40})</code>", boss.get("/people").text)
    assert code not in boss.get("/people").text
    visit = console.visitor()
    assert visit.get("/join/finish").status_code == 409
    assert visit.post("/join", {"name": "yuki", "code": "0" * 40}).status_code == 401
    assert visit.post("/join", {"name": "yuki", "code": code}).headers["location"] == "/join/finish"
    page = visit.get("/join/finish").text
    secret = console_secret(page)
    chosen = {"password": "a quiet river at dawn", "repeated": "a quiet river at dawn"}
    assert visit.post("/join/finish", chosen | {"code": "000000"}).status_code == 422
    assert console_secret(visit.get("/join/finish").text) == secret
    assert visit.post("/join/finish", chosen | {"repeated": "x", "code": "1"}).status_code == 422
    weak = {"password": "password1234", "repeated": "password1234", "code": code_now(console, secret)}
    assert visit.post("/join/finish", weak).status_code == 422
    answer = visit.post("/join/finish", chosen | {"code": code_now(console, secret)})
    assert answer.headers["location"] == "/account/codes"
    codes = re.findall(r"<code>([0-9a-f]{5}(?:-[0-9a-f]{5}){3})</code>", visit.get("/account/codes").text)
    assert len(codes) == 10
    assert codes[0] not in visit.get("/account/codes").text
    assert visit.get("/").status_code == 200
    other = console.visitor()
    assert other.sign_in("yuki", codes[0], password=chosen["password"]).headers["location"] == "/"
    assert other.post("/sign-out").headers["location"] == "/sign-in"
    assert other.get("/account").headers["location"] == "/sign-in"


def test_changing_ones_password_signs_everybody_out(console: Console) -> None:
    """Who is signed in elsewhere under the old one, too."""
    secret = console.add("yuki", ConsoleRole.PRIVACY_OFFICER)
    elsewhere, visit = console.signed_in("yuki"), console.signed_in("yuki")
    console.clock.now += 30
    new = "a quiet river at dawn"
    form = {
        "password": "correct horse battery staple",
        "code": code_now(console, secret),
        "new": new,
        "repeated": new,
    }
    assert visit.post("/account/password", form | {"password": "wrong one"}).status_code == 409
    assert visit.post("/account/password", form).headers["location"] == "/sign-in"
    assert elsewhere.get("/account").headers["location"] == "/sign-in"
    console.clock.now += 30
    assert visit.sign_in("yuki", code_now(console, secret), password=new).headers["location"] == "/"


def test_no_page_has_a_name_in_its_address(console: Console) -> None:
    """Addresses stand in histories and logs: people are handles there."""
    boss = console.signed_in("boss")
    console.add_at_provider("hanako", ConsoleRole.AUDITOR)
    for path in ("/people", "/trail"):
        links = re.findall(r'(?:href|action)="([^"]*)"', boss.get(path).text)
        assert not [link for link in links if "hanako" in link]
    handle = console.desk.accounts.account("hanako").handle
    assert f'href="/people/{handle}"' in boss.get("/people").text


def code_now(console: Console, secret: bytes) -> str:
    from noren_server.console import totp

    return totp.code_of(secret, console.clock.now // totp.STEP_SECONDS)


def console_secret(page: str) -> bytes:
    import base64

    return base64.b32decode(found(r"<code>([A-Z2-7 ]+)</code>", page).replace(" ", ""))


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None
    return match.group(1)
