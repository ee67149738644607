"""Signing in at an identity provider: OpenID Connect, authorization code with PKCE, state and nonce.

    [console.oidc]                          in the platform's config.toml
    issuer = "https://id.example.jp"        exactly as its discovery document says
    client_id = "noren-console"
    name = "Example ID"                     what the sign-in page calls it
    claim = "sub"                           whose value is a person's subject in the register
    authority = "/etc/ssl/example-ca.pem"   optional: who signs the provider's certificate

    keys/console-oidc.key                   the client's secret, if it has one (`console oidc-secret`)

Promises: a callback counts once, in the browser that began it, within `ATTEMPT_SECONDS`; the token is taken
only from the provider's own token endpoint over TLS, signed by one of its published keys with an algorithm of
`ALGORITHMS`, for this client, in time, and for this attempt's nonce. Whoever the provider names and the
register does not know is nobody: the provider gives no roles.

Sources: OpenID Connect Core 1.0 §3.1.3.7, RFC 7636 (PKCE), RFC 9207 (`iss`), RFC 8725 (JWT practices).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, RemoteProtocolError, VerificationError
from noren_server.platform_files import Platform
from noren_server.platform_secrets import secrets_of

if TYPE_CHECKING:
    import httpx

SECRET_FILE = "keys/console-oidc.key"  # noqa: S105 (the file's name)
CALLBACK_PATH = "/sign-in/provider/answer"
ALGORITHMS = ("ES256", "ES384", "EdDSA", "PS256", "RS256")
"""All with public keys: `none` and the HMAC family, whose key would be public, are not among them."""
ATTEMPT_SECONDS = 600
CLOCK_SKEW_SECONDS = 60

_DISCOVERY = "/.well-known/openid-configuration"
_KEPT_SECONDS = 3600
_REFETCH_SECONDS = 60
_MAX_BYTES = 1 << 18
_TIMEOUT_SECONDS = 10.0
_FIELDS = {"issuer", "client_id", "name", "claim", "authority"}
_NEEDED = {"issuer", "client_id"}


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """`[console.oidc]`, see the module."""

    issuer: str
    client_id: str
    name: str = "OpenID Connect"
    claim: str = "sub"
    authority: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sign-in that was begun; kept in the session of the browser that began it."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    begun_at: int


@dataclass(frozen=True, slots=True)
class _Provider:
    """What the provider says of itself."""

    authorization: str
    token: str
    keys: Mapping[str, Any]
    read_at: int


def parse_settings(console: Mapping[str, Any]) -> OidcSettings | None:
    """The settings in the table `[console]`; None without a provider.

    Raises:
        ConfigurationError: for other fields, or an issuer without TLS.
    """
    if set(console) - {"oidc"}:
        raise ConfigurationError("config.toml: [console]: expected nothing but [console.oidc]")
    table = console.get("oidc")
    if table is None:
        return None
    if not isinstance(table, dict) or not _NEEDED <= set(table) <= _FIELDS:
        raise ConfigurationError(
            f"config.toml: [console.oidc]: expected fields of {', '.join(sorted(_FIELDS))}"
        )
    if not all(isinstance(value, str) and value for value in table.values()):
        raise ConfigurationError("config.toml: [console.oidc]: expected texts")
    if urlsplit(table["issuer"]).scheme != "https":
        raise ConfigurationError("config.toml: [console.oidc]: expected an issuer with https")
    return OidcSettings(**table)


def oidc_client(platform: Platform, clock: Callable[[], int], *, base_url: str) -> OidcClient | None:
    """The client of a platform's provider, if it has one.

    Raises:
        ConfigurationError: as `parse_settings`, and if the provider cannot send browsers back over TLS.
    """
    settings = parse_settings(platform.config.console)
    if settings is None or not base_url.startswith("https://"):
        return None
    secret = secrets_of(platform.directory).read(SECRET_FILE)
    return OidcClient(settings, secret, clock, redirect_uri=base_url + CALLBACK_PATH)


class OidcClient:
    """The console as a client of one identity provider; what the provider publishes is kept for an hour."""

    def __init__(
        self,
        settings: OidcSettings,
        secret: SecretBytes | None,
        clock: Callable[[], int],
        *,
        redirect_uri: str,
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._redirect_uri = redirect_uri
        self._lock = threading.Lock()
        self._provider: _Provider | None = None

    @property
    def name(self) -> str:
        """What the sign-in page calls the provider."""
        return self._settings.name

    def begin(self) -> tuple[Attempt, str]:
        """A new attempt, and the address at the provider to which the browser goes."""
        attempt = Attempt(
            secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), self._clock()
        )
        challenge = hashlib.sha256(attempt.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": "openid" if self._settings.claim == "sub" else "openid profile email",
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return attempt, f"{self._published().authorization}?{urlencode(asked)}"

    def subject(self, attempt: Attempt | None, *, code: str, state: str, issuer: str) -> str:
        """The value of the claim for whoever signed in at the provider.

        1. The answer is of the attempt that this browser began, a short while ago, and of this provider.
        2. The code is exchanged at the token endpoint, with the verifier of the attempt.
        3. The token is verified (`_verified`).

        Left to the caller: an attempt is handed in once.

        Raises:
            VerificationError: with code OIDC_REFUSED, if any of it is not so.
            RemoteProtocolError: with code OIDC_UNREACHABLE, if the provider does not answer as it should.
        """
        if attempt is None or not hmac.compare_digest(attempt.state.encode(), state.encode()):  # 1
            raise _refused("the answer to a sign-in that this browser began")
        if self._clock() - attempt.begun_at > ATTEMPT_SECONDS:
            raise _refused("an answer within ten minutes")
        if issuer and issuer != self._settings.issuer:
            raise _refused("an answer of the provider that was asked")
        if not code:
            raise _refused("an authorization code")
        claims = self._verified(self._exchanged(code, attempt.verifier), attempt.nonce)
        value = claims.get(self._settings.claim)
        if not isinstance(value, str) or not value:
            raise _refused("a token with the claim that names people")
        if self._settings.claim == "email" and claims.get("email_verified") is not True:
            raise _refused("a verified address")
        return value

    def _exchanged(self, code: str, verifier: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "client_id": self._settings.client_id,
            "code_verifier": verifier,
        }
        if self._secret is not None:
            form["client_secret"] = bytes(self._secret.buffer).decode()
        answer = self._called("POST", self._published().token, form)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise _refused("an ID token")
        return token

    def _verified(self, token: str, nonce: str) -> Mapping[str, Any]:
        """The claims of a token.

        1. Its algorithm is one of ours, whatever its header says besides.
        2. Its key is one that the provider publishes for signatures, and for that algorithm.
        3. Signature, issuer, audience, expiry, time of issue; with several audiences, the authorized party.
        4. The nonce of this attempt.
        """
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in ALGORITHMS:  # 1
                raise _refused("a token signed with a public key")
            key = self._key(header.get("kid"), algorithm)  # 2
            claims: dict[str, Any] = jwt.decode(  # 3
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.client_id,
                issuer=self._settings.issuer,
                leeway=CLOCK_SKEW_SECONDS,
                options={
                    "require": ["exp", "iat", "aud", "iss", "sub", "nonce"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.PyJWTError as error:
            raise _refused("a token that verifies") from error
        self._verify_times(claims)
        audience = claims["aud"]
        if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != self._settings.client_id:
            raise _refused("a token for this console")
        if not hmac.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):  # 4
            raise _refused("a token of this sign-in")
        return claims

    def _verify_times(self, claims: Mapping[str, Any]) -> None:
        """By our clock, which is handed in, and not the library's."""
        now, times = self._clock(), (claims["exp"], claims["iat"], claims.get("nbf", 0))
        if not all(isinstance(time, int | float) for time in times):
            raise _refused("times that are numbers")
        expires, issued, not_before = times
        if expires + CLOCK_SKEW_SECONDS <= now:
            raise _refused("a token that has not expired")
        if max(issued, not_before) > now + CLOCK_SKEW_SECONDS or issued < now - ATTEMPT_SECONDS:
            raise _refused("a token that was just issued")

    def _key(self, key_id: object, algorithm: str) -> Any:
        """The key that a token names; a new one of the provider's is looked for once a minute."""
        import jwt

        for provider in (self._published(), self._published(older_than=_REFETCH_SECONDS)):
            found = [
                key
                for key in provider.keys.get("keys", [])
                if isinstance(key, dict)
                and (key_id is None or key.get("kid") == key_id)
                and key.get("use", "sig") == "sig"
                and key.get("alg", algorithm) == algorithm
                and key.get("kty") != "oct"
            ]
            if len(found) == 1:
                return jwt.PyJWK.from_dict(found[0], algorithm).key
        raise _refused("a key that the provider publishes")

    def _published(self, older_than: int = _KEPT_SECONDS) -> _Provider:
        now = self._clock()
        with self._lock:
            if self._provider is None or self._provider.read_at < now - older_than:
                self._provider = self._discovered(now)
            return self._provider

    def _discovered(self, now: int) -> _Provider:
        found = self._called("GET", self._settings.issuer.rstrip("/") + _DISCOVERY)
        if found.get("issuer") != self._settings.issuer:
            raise _unreachable("a discovery document of this issuer")
        places = [found.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        if not all(isinstance(place, str) and urlsplit(place).scheme == "https" for place in places):
            raise _unreachable("endpoints with https")
        authorization, token, keys = map(str, places)
        return _Provider(authorization, token, self._called("GET", keys), now)

    def _called(self, method: str, url: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON object that the provider answers with; bounded, over TLS, without redirects."""
        import httpx

        try:
            with (
                httpx.Client(verify=self._trust(), timeout=_TIMEOUT_SECONDS, trust_env=False) as client,
                client.stream(method, url, data=form, headers={"accept": "application/json"}) as answer,
            ):
                return _object(answer)
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise _unreachable("an answer in JSON") from error

    def _trust(self) -> ssl.SSLContext:
        authority = self._settings.authority
        if not authority:
            return ssl.create_default_context()
        try:
            return ssl.create_default_context(cafile=str(Path(authority)))
        except OSError as error:
            raise ConfigurationError(
                "config.toml: [console.oidc]: expected authority to be a PEM file"
            ) from error


def _object(answer: httpx.Response) -> dict[str, Any]:
    import json

    content = bytearray()
    for part in answer.iter_bytes():
        content += part
        if len(content) > _MAX_BYTES:
            raise _unreachable("a shorter answer")
    if answer.status_code != 200:
        raise _unreachable("an answer with status 200")
    found = json.loads(content)
    if not isinstance(found, dict):
        raise _unreachable("a JSON object")
    return found


def _refused(expected: str) -> VerificationError:
    return VerificationError(f"sign-in: expected {expected}, got something else", code="OIDC_REFUSED")


def _unreachable(expected: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"identity provider: expected {expected}, got something else", code="OIDC_UNREACHABLE"
    )
