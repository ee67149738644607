"""Signing in at an identity provider: what goes right, and every token and answer that is refused."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from identity_provider import CLIENT, SECRET, Provider, identity_provider
from operators_console import BASE, Clock, Console, Visit, operators_console

from noren_core.errors import ConfigurationError
from noren_server.console.accounts import ConsoleRole
from noren_server.console.oidc import ATTEMPT_SECONDS, CALLBACK_PATH, SECRET_FILE, parse_settings
from noren_server.platform_files import Platform, initialise
from noren_server.platform_secrets import secrets_of


@pytest.fixture
def provider(tmp_path: Path, clock: Clock) -> Iterator[Provider]:
    with identity_provider(tmp_path / "provider", clock) as made:
        yield made


@pytest.fixture
def console(tmp_path: Path, provider: Provider, clock: Clock, monkeypatch: Any) -> Iterator[Console]:
    """A console whose platform names the provider in its config.toml."""

    def configured(directory: Path, **options: Any) -> Platform:
        made = initialise(directory, **options)
        with (directory / "config.toml").open("a") as file:
            file.write(
                f'\n[console.oidc]\nissuer = "{provider.issuer}"\nclient_id = "{CLIENT}"\n'
                f'name = "Example ID"\nauthority = "{provider.certificate}"\n'
            )
        secrets_of(directory).write(SECRET_FILE, SECRET.encode())
        return made

    monkeypatch.setattr("operators_console.initialise", configured)
    with operators_console(tmp_path / "platform") as made:
        provider.clock = made.clock
        yield made


def begun(visit: Visit) -> str:
    """The address at the provider to which a browser is sent."""
    answer = visit.get("/sign-in/provider")
    assert answer.status_code == 303
    return str(answer.headers["location"])


def come_back(visit: Visit, answer: dict[str, str]) -> httpx2.Response:
    return visit.get(f"{CALLBACK_PATH}?{urlencode(answer)}")


def signed_in_as(visit: Visit) -> bool:
    return visit.get("/account").status_code == 200


def test_somebody_of_the_register_is_let_in(console: Console, provider: Provider) -> None:
    """Under another cookie than before, with her roles of the register, and the trail says so."""
    visit = console.visitor()
    assert "Example ID" in visit.get("/sign-in").text
    address = begun(visit)
    before = visit.client.cookies.get("__Host-noren-console")
    answer = come_back(visit, provider.agree(address))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert visit.client.cookies.get("__Host-noren-console") != before
    assert visit.get("/people").status_code == 200
    newest = console.desk.trail.newest()[0]
    assert (newest.who, newest.action, newest.outcome) == ("boss", CALLBACK_PATH, "done")


def test_the_question_is_complete(console: Console, provider: Provider) -> None:
    """Code flow, PKCE, our address; nothing of the verifier or a secret goes through the browser."""
    asked = parse_qs(urlsplit(begun(console.visitor())).query)
    assert asked["redirect_uri"] == [BASE + CALLBACK_PATH]
    assert asked["scope"] == ["openid"]
    assert set(asked) == {
        *("response_type", "client_id", "redirect_uri", "scope", "state", "nonce"),
        *("code_challenge", "code_challenge_method"),
    }


def test_whom_the_register_does_not_know_is_refused(console: Console, provider: Provider) -> None:
    """The provider gives no roles; who was disabled is unknown too."""
    provider.subject = "somebody else"
    visit = console.visitor()
    answer = come_back(visit, provider.agree(begun(visit)))
    assert (answer.status_code, "NOT_RECOGNISED" in answer.text) == (409, True)
    console.add_at_provider("second", ConsoleRole.ADMINISTRATOR)
    console.desk.accounts.disable("boss")
    provider.subject = "subject of boss"
    assert come_back(visit, provider.agree(begun(visit))).status_code == 409
    assert not signed_in_as(visit)


def unsigned(claims: dict[str, Any]) -> str:
    """A token with algorithm none."""
    return jwt.encode(claims, None, algorithm="none", headers={"kid": "1"})


def by_somebody_else(claims: dict[str, Any]) -> str:
    return jwt.encode(
        claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": "1"}
    )


def by_another_kind_of_key(claims: dict[str, Any]) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "1"})


def under_an_unknown_key_id(claims: dict[str, Any]) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(claims, key, algorithm="ES256", headers={"kid": "unknown"})


def with_the_clients_secret(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, SECRET.ljust(32, "."), algorithm="HS256", headers={"kid": "1"})


def no_token(claims: dict[str, Any]) -> str:
    return "a.b.c"


def with_an_empty_signature(claims: dict[str, Any]) -> str:
    head = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "kid": "1"}).encode()).rstrip(b"=").decode()
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{body}."


@pytest.mark.parametrize(
    "sign",
    [
        unsigned,
        by_somebody_else,
        by_another_kind_of_key,
        under_an_unknown_key_id,
        with_the_clients_secret,
        no_token,
        with_an_empty_signature,
    ],
)
def test_a_token_that_the_provider_did_not_sign_is_refused(
    console: Console, provider: Provider, sign: Callable[[dict[str, Any]], str]
) -> None:
    """Whatever its header says."""
    provider.sign = sign
    visit = console.visitor()
    answer = come_back(visit, provider.agree(begun(visit)))
    assert (answer.status_code, "OIDC_REFUSED" in answer.text) == (422, True)
    assert not signed_in_as(visit)


def test_a_token_signed_with_the_published_key_as_a_password_is_refused(
    console: Console, provider: Provider
) -> None:
    """HMAC under a key that everybody knows (RFC 8725 §2.1)."""
    public = json.dumps(provider.published_keys()["keys"][0])

    def sign(claims: dict[str, Any]) -> str:  # by hand: the library refuses to
        parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "kid": "1"}, claims)]
        text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
        tag = hmac.digest(public.encode(), text, "sha256")
        return (text + b"." + base64.urlsafe_b64encode(tag).rstrip(b"=")).decode()

    provider.sign = sign
    visit = console.visitor()
    assert "OIDC_REFUSED" in come_back(visit, provider.agree(begun(visit))).text


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "another sign-in's"},
        {"nonce": None},
        {"aud": "another-client"},
        {"aud": [CLIENT, "another-client"]},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"exp": -61},
        {"exp": None},
        {"exp": "soon"},
        {"iat": 61},
        {"iat": -ATTEMPT_SECONDS - 1},
        {"nbf": 61},
        {"sub": ""},
        {"sub": None},
    ],
    ids=str,
)
def test_a_token_for_something_else_is_refused(
    console: Console, provider: Provider, change: dict[str, Any]
) -> None:
    """Another sign-in, another client, another issuer, another time, nobody. Numbers are from now."""

    def changed(claims: dict[str, Any]) -> None:
        for name, value in change.items():
            if value is None:
                del claims[name]
            else:
                claims[name] = console.clock.now + value if isinstance(value, int) else value

    provider.change = changed
    visit = console.visitor()
    answer = come_back(visit, provider.agree(begun(visit)))
    assert (answer.status_code, "OIDC_REFUSED" in answer.text) == (422, True)
    assert not signed_in_as(visit)
    assert console.desk.trail.newest()[0].outcome == "OIDC_REFUSED"


def test_an_answer_counts_once(console: Console, provider: Provider) -> None:
    """The same answer again is refused before the provider is asked; so is its code in another attempt."""
    visit = console.visitor()
    answer = provider.agree(begun(visit))
    assert come_back(visit, answer).status_code == 303
    assert "OIDC_REFUSED" in come_back(visit, answer).text
    other = console.visitor()
    state = parse_qs(urlsplit(begun(other)).query)["state"][0]
    assert come_back(other, answer | {"state": state}).status_code == 502
    assert not signed_in_as(other)


def test_an_answer_counts_in_the_browser_that_began(console: Console, provider: Provider) -> None:
    """Nobody is signed in as somebody else by a link."""
    answer = provider.agree(begun(console.visitor()))
    victim = console.visitor()
    assert "OIDC_REFUSED" in come_back(victim, answer).text
    begun(victim)
    assert "OIDC_REFUSED" in come_back(victim, answer).text
    assert not signed_in_as(victim)


@pytest.mark.parametrize(
    "change", [{"state": "another"}, {"state": ""}, {"code": ""}, {"iss": "https://evil.example"}]
)
def test_a_changed_answer_is_refused(console: Console, provider: Provider, change: dict[str, str]) -> None:
    """State, code and issuer (RFC 9207) are those of the attempt."""
    visit = console.visitor()
    assert "OIDC_REFUSED" in come_back(visit, provider.agree(begun(visit)) | change).text


def test_a_late_answer_is_refused(console: Console, provider: Provider) -> None:
    """Ten minutes are enough to sign in at a provider."""
    visit = console.visitor()
    answer = provider.agree(begun(visit))
    console.clock.now += ATTEMPT_SECONDS + 1
    assert "OIDC_REFUSED" in come_back(visit, answer).text


def test_a_code_without_our_verifier_is_worth_nothing(console: Console, provider: Provider) -> None:
    """Somebody who caught the code puts it into an attempt of her own: the provider refuses (PKCE)."""
    caught = provider.agree(begun(console.visitor()))
    attacker = console.visitor()
    state = parse_qs(urlsplit(begun(attacker)).query)["state"][0]
    assert come_back(attacker, caught | {"state": state}).status_code == 502


def test_a_new_key_of_the_provider_is_found(console: Console, provider: Provider) -> None:
    """What it publishes is read once, and again for a key that is not among it, once a minute."""
    visit = console.visitor()
    come_back(visit, provider.agree(begun(visit)))
    assert provider.requests == ["discovery", "keys"]
    provider.key = ec.generate_private_key(ec.SECP256R1())
    provider.published_keys = lambda: {  # type: ignore[method-assign]
        "keys": [json.loads(jwt.algorithms.ECAlgorithm.to_jwk(provider.key.public_key())) | {"kid": "2"}]
    }
    provider.sign = lambda claims: jwt.encode(claims, provider.key, algorithm="ES256", headers={"kid": "2"})
    other = console.visitor()
    assert "OIDC_REFUSED" in come_back(other, provider.agree(begun(other))).text
    console.clock.now += 61
    assert come_back(other, provider.agree(begun(other))).status_code == 303


def test_without_a_provider_there_is_no_way_to_it(tmp_path: Path) -> None:
    """Neither on the page nor by its address."""
    with operators_console(tmp_path / "other") as console:
        visit = console.visitor()
        assert "/sign-in/provider" not in visit.get("/sign-in").text
        assert visit.get("/sign-in/provider").status_code == 503
        assert visit.get(CALLBACK_PATH).status_code == 503


@pytest.mark.parametrize(
    "table",
    [
        {"other": 1},
        {"oidc": 1},
        {"oidc": {"issuer": "https://id.example"}},
        {"oidc": {"issuer": "http://id.example", "client_id": "x"}},
        {"oidc": {"issuer": "https://id.example", "client_id": ""}},
        {"oidc": {"issuer": "https://id.example", "client_id": "x", "roles": "all"}},
        {"oidc": {"issuer": "https://id.example", "client_id": 5}},
    ],
)
def test_malformed_settings_are_refused(table: dict[str, Any]) -> None:
    """When the console starts, not when somebody signs in."""
    with pytest.raises(ConfigurationError):
        parse_settings(table)


def test_a_provider_without_tls_or_under_another_certificate_is_not_believed(
    console: Console,
) -> None:
    """The connection to the token endpoint is what a code is safe on."""
    settings = parse_settings(console.platform.config.console)
    assert settings is not None
    client = console.desk.oidc
    assert client is not None
    client._settings = type(settings)(
        settings.issuer, settings.client_id, settings.name, settings.claim, authority=""
    )
    assert console.visitor().get("/sign-in/provider").status_code == 502
