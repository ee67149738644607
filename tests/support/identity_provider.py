"""A little OpenID provider on loopback with TLS, which a test can have say anything."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from self_signed_certificate import self_signed
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "noren-console", "the client's secret"


@dataclass
class Provider:
    """One provider, with one user who always agrees.

    Attributes:
        issuer: its address.
        certificate: PEM file of its own authority.
        subject: who its user is.
        change: what it does to the claims of a token before signing.
        sign: how it signs; by default with its published key.
    """

    issuer: str
    certificate: Path
    clock: Callable[[], int]
    subject: str = "subject of boss"
    change: Callable[[dict[str, Any]], None] = lambda claims: None
    sign: Callable[[dict[str, Any]], str] | None = None
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def agree(self, address: str) -> dict[str, str]:
        """What its user's browser is sent back with, when it comes to this address."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return {"code": code, "state": asked["state"], "iss": self.issuer}

    def published_keys(self) -> dict[str, Any]:
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [public | {"kid": "1", "use": "sig", "alg": "ES256"}]}

    def token(self, asked: dict[str, str]) -> str:
        now = self.clock()
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": self.subject,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
        }
        self.change(claims)
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": "1"})

    def application(self) -> Starlette:
        async def discovery(_: Request) -> Response:
            self.requests.append("discovery")
            places = {
                "authorization_endpoint": "/authorize",
                "token_endpoint": "/token",
                "jwks_uri": "/keys",
            }
            return JSONResponse(
                {"issuer": self.issuer} | {name: self.issuer + path for name, path in places.items()}
            )

        async def authorize(request: Request) -> Response:
            answer = urlencode(self.agree(str(request.url)))
            return RedirectResponse(f"{request.query_params['redirect_uri']}?{answer}", status_code=303)

        async def keys(_: Request) -> Response:
            self.requests.append("keys")
            return JSONResponse(self.published_keys())

        async def exchange(request: Request) -> Response:
            form = parse_qs((await request.body()).decode())
            given = {name: values[0] for name, values in form.items()}
            asked = self.codes.pop(given.get("code", ""), None)
            challenge = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
            is_right = asked is not None and (
                asked["code_challenge"] == base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
                and given.get("client_secret") == SECRET
                and given.get("client_id") == CLIENT
                and given.get("redirect_uri") == asked["redirect_uri"]
            )
            if not is_right or asked is None:
                return JSONResponse({"error": "invalid_grant"}, status_code=400)
            return JSONResponse({"id_token": self.token(asked), "access_token": "x", "token_type": "Bearer"})

        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", discovery),
                Route("/authorize", authorize),
                Route("/keys", keys),
                Route("/token", exchange, methods=["POST"]),
            ]
        )


@contextmanager
def identity_provider(directory: Path, clock: Callable[[], int]) -> Iterator[Provider]:
    """The provider until the end of the block."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = self_signed(directory)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        provider = Provider(f"https://127.0.0.1:{listening.getsockname()[1]}", certificate, clock)
        config = uvicorn.Config(
            provider.application(),
            ssl_certfile=str(certificate),
            ssl_keyfile=str(key),
            lifespan="off",
            log_level="error",
            ws="none",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield provider
        finally:
            server.should_exit = True
            thread.join()
