"""Asking the custodian: signed requests, bounded answers, and nothing believed that it did not sign.

docs/rights/erasure.md §2. A request can be repeated whatever became of the one before, so a connection that
broke is opened once more; beyond that, a custodian that does not answer is an error, since without its share
a record stays closed.
"""

from __future__ import annotations

import http.client
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlsplit

from noren_client import keystore, outbound
from noren_client.config import CustodianAddress
from noren_client.outbound import NetworkSettings
from noren_core.crypto.identity import SealingKey
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import (
    ConfigurationError,
    LocalProtocolError,
    NorenError,
    RemoteProtocolError,
    VerificationError,
)
from noren_core.rights.erasure.custody import (
    MAX_ANSWER_BYTES,
    NONCE_BYTES,
    PATH,
    CustodyAnswer,
    CustodyCosignature,
    CustodyOperation,
    CustodyRequest,
    DestructionStatement,
    open_share,
)
from noren_core.rights.signed_statement import SignedStatement

TIMEOUT_SECONDS = 10.0
_MAX_CODE_BYTES = 64
_OK = 200
_CODES = frozenset({"KEY_DESTROYED", "UNKNOWN_HANDLE", "SHARE_OLDER_THAN_ORDER"})


class CustodianUnavailableError(NorenError):
    """The custodian did not answer."""

    code = "CUSTODIAN_UNAVAILABLE"
    exit_code = RemoteProtocolError.exit_code


@dataclass(frozen=True, slots=True)
class DrawnShare:
    """The custodian's share of a key, and when it was drawn by the custodian's clock."""

    share: SecretBytes
    drawn_at: int


class CustodianClient:
    """One custodian, as this company asks it; use as a context manager."""

    def __init__(
        self,
        address: CustodianAddress,
        keys: keystore.CompanyKeys,
        *,
        clock: Callable[[], float],
        network: NetworkSettings,
        note_sent: Callable[[CustodyOperation, int], None],
    ) -> None:
        """Prepare a connection; nothing is sent yet. `note_sent` is told the bytes of each request.

        Raises:
            ConfigurationError: for a url that is not http(s)://host[:port][/path], or a network that is
                not configured properly.
        """
        parts = urlsplit(address.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigurationError("custodian.url: expected http(s)://host[:port][/path], got another text")
        self._connection = _connection(parts.scheme, parts.hostname, parts.port, network)
        self._path = parts.path.rstrip("/") + PATH
        self._key = address.key
        self._keys = keys
        self._clock = clock
        self._note_sent = note_sent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def put(self, campaign: str, handle: bytes) -> DrawnShare:
        """A share under a new handle; asked again, the same one."""
        return self._share(CustodyOperation.PUT, campaign, handle)

    def get(self, campaign: str, handle: bytes) -> DrawnShare:
        """The share under a handle; LocalProtocolError (KEY_DESTROYED, UNKNOWN_HANDLE) if there is none."""
        return self._share(CustodyOperation.GET, campaign, handle)

    def destroy(self, campaign: str, handle: bytes) -> DestructionStatement:
        """The custodian's word that the share is gone; asked again, the same one."""
        answer, _ = self._asked(self._request(CustodyOperation.DESTROY, campaign, handle=handle))
        said = DestructionStatement.open(_statement(answer), custodian_key=self._key)
        if (said.company, said.handle) != (self._keys.company, handle):
            raise VerificationError("custodian: expected a statement about our share, got another's")
        return said

    def handles(self, campaign: str) -> frozenset[bytes]:
        """The handles of every share that exists for the campaign."""
        answer, _ = self._asked(self._request(CustodyOperation.LIST, campaign))
        return frozenset(answer.handles)

    def cosign(self, campaign: str, *, certificate_sha256: bytes, since: int) -> CustodyCosignature:
        """A cosignature for a certificate.

        Raises:
            LocalProtocolError: with code SHARE_OLDER_THAN_ORDER, if a share is older than `since`.
        """
        request = self._request(
            CustodyOperation.COSIGN, campaign, certificate_sha256=certificate_sha256, since=since
        )
        answer, _ = self._asked(request)
        said = CustodyCosignature.open(_statement(answer), custodian_key=self._key)
        asked = (request.company, campaign, certificate_sha256, since)
        if (said.company, said.campaign, said.certificate_sha256, said.since) != asked:
            raise VerificationError("custodian: expected a cosignature of our certificate, got another's")
        return said

    def _share(self, operation: CustodyOperation, campaign: str, handle: bytes) -> DrawnShare:
        reply_key = SealingKey.generate()
        request = self._request(operation, campaign, handle=handle, reply_key=reply_key.public_key)
        answer, sent = self._asked(request)
        return DrawnShare(open_share(answer.sealed_share, reply_key, sent), answer.drawn_at)

    def _request(
        self,
        operation: CustodyOperation,
        campaign: str,
        *,
        handle: bytes = b"",
        reply_key: bytes = b"",
        certificate_sha256: bytes = b"",
        since: int = 0,
    ) -> CustodyRequest:
        return CustodyRequest(
            operation=operation,
            company=self._keys.company,
            campaign=campaign,
            handle=handle,
            nonce=secrets.token_bytes(NONCE_BYTES),
            issued_at=int(self._clock()),
            reply_key=reply_key,
            certificate_sha256=certificate_sha256,
            since=since,
        )

    def _asked(self, request: CustodyRequest) -> tuple[CustodyAnswer, SignedStatement]:
        """The verified answer, and the request as it was sent.

        A connection that broke is opened once more, and the question asked again with a new nonce.
        """
        try:
            return self._asked_once(request)
        except CustodianUnavailableError:
            return self._asked_once(replace(request, nonce=secrets.token_bytes(NONCE_BYTES)))

    def _asked_once(self, request: CustodyRequest) -> tuple[CustodyAnswer, SignedStatement]:
        sent = request.sign(self._keys.signing)
        data = sent.to_bytes()
        self._note_sent(request.operation, len(data))
        try:
            self._connection.request("POST", self._path, body=data)
            response = self._connection.getresponse()
            body = response.read(MAX_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise CustodianUnavailableError(
                "expected an answer of the custodian, got none (address, network or certificate)"
            ) from error
        if response.status != _OK:
            raise _refused(body)
        return CustodyAnswer.open(body, sent, custodian_key=self._key), sent


def _connection(
    scheme: str, host: str, port: int | None, network: NetworkSettings
) -> http.client.HTTPConnection:
    """To the custodian, or through the proxy, which is asked to CONNECT; nothing is opened yet."""
    port = port or (http.client.HTTPS_PORT if scheme == "https" else http.client.HTTP_PORT)
    proxy = outbound.proxy_for(network, host, port)
    at = (host, port) if proxy is None else (proxy.host, proxy.port)
    connection = (
        http.client.HTTPSConnection(*at, timeout=TIMEOUT_SECONDS, context=outbound.authority_context(network))
        if scheme == "https"
        else http.client.HTTPConnection(*at, timeout=TIMEOUT_SECONDS)
    )
    if proxy is not None:
        connection.set_tunnel(host, port, proxy.headers())
    return connection


def _refused(body: bytes) -> NorenError:
    """The error that a status other than 200 stands for; what it says is no more than a hint of why."""
    code = body[:_MAX_CODE_BYTES].decode("ascii", "replace").strip()
    if code in _CODES:
        sentence = "custodian: expected shares that exist and are new enough, got others"
        return LocalProtocolError(sentence, code=code)
    return RemoteProtocolError("custodian: expected an answer, got a refusal", code="CUSTODY_REFUSED")


def _statement(answer: CustodyAnswer) -> SignedStatement:
    if answer.statement is None:
        raise VerificationError("custodian: expected a signed statement, got none")
    return answer.statement
