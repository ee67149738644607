"""How a call of a company is attributed, and how it ends when it is refused: for every gRPC service.

Promises: the caller is the company whose certificate the connection presents; a refusal is a stable code and
a constant sentence, and whatever else went wrong inside stays inside.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NoReturn, TypeVar, cast

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from noren_core import __version__
from noren_core.errors import (
    BudgetExceededError,
    DataError,
    NorenError,
    RemoteProtocolError,
    VerificationError,
)
from noren_core.wire.refusal import METADATA_KEY, VERSION_KEY, Refusal
from noren_server.store import Company, Store

T = TypeVar("T")

_RELEASE = ((VERSION_KEY, __version__),)
_LOG = logging.getLogger(__name__)

_STATUS = {
    Refusal.CERTIFICATE_REFUSED: grpc.StatusCode.UNAUTHENTICATED,
    Refusal.NOT_AVAILABLE: grpc.StatusCode.NOT_FOUND,
    Refusal.EVALUATION_LIMIT: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Refusal.TOO_MANY_ATTEMPTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Refusal.HEAD_LIMIT: grpc.StatusCode.ALREADY_EXISTS,
    Refusal.WEIGHTS_LIMIT: grpc.StatusCode.ALREADY_EXISTS,
    Refusal.KEY_TAKEN: grpc.StatusCode.ALREADY_EXISTS,
    Refusal.KEY_IN_USE: grpc.StatusCode.FAILED_PRECONDITION,
    Refusal.ALREADY_ENROLLED: grpc.StatusCode.ALREADY_EXISTS,
    Refusal.NOT_READY: grpc.StatusCode.FAILED_PRECONDITION,
    Refusal.NOT_ACCEPTED: grpc.StatusCode.FAILED_PRECONDITION,
    Refusal.GATE_NOT_OPEN: grpc.StatusCode.FAILED_PRECONDITION,
    Refusal.BATCH_LIMIT: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Refusal.SERVICE_SUSPENDED: grpc.StatusCode.UNAVAILABLE,
    Refusal.LAUNCH_BLOCKED: grpc.StatusCode.FAILED_PRECONDITION,
    Refusal.PENDING_ERASURE_ORDERS: grpc.StatusCode.FAILED_PRECONDITION,
    Refusal.INTERNAL: grpc.StatusCode.INTERNAL,
}  # INVALID_ARGUMENT for the rest


class Callers:
    """Tells which company a call comes from."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def of(self, context: grpc.ServicerContext) -> Company:
        """The company of this connection's certificate.

        1. TLS has checked that our authority signed the certificate and that the peer holds its key.
        2. It has not expired since the connection was made.
        3. It is the very certificate of an approved company; a revoked one is found here.
        """
        presented = cast("list[bytes]", context.auth_context().get("x509_pem_cert", []))
        if not presented:  # 1
            raise refused(Refusal.CERTIFICATE_REFUSED)
        certificate = x509.load_pem_x509_certificate(presented[0])
        if not certificate.not_valid_before_utc <= self._clock() <= certificate.not_valid_after_utc:  # 2
            raise refused(Refusal.CERTIFICATE_REFUSED)
        with self._store.transaction() as transaction:  # 3
            company = transaction.company_with_certificate(certificate.fingerprint(hashes.SHA256()))
        if company is None:
            raise refused(Refusal.CERTIFICATE_REFUSED)
        return company


def answered(context: grpc.ServicerContext, answer: Callable[[], T]) -> T:
    """The answer, or the call's end with a refusal; whatever went wrong inside stays inside."""
    context.set_trailing_metadata(_RELEASE)
    try:
        return answer()
    except NorenError as error:
        refusal = _refusal(error)
        _LOG.info("call refused: %s", refusal)
    except Exception as error:  # noqa: BLE001 (its text must not leave, and may name people: not logged either)
        refusal = Refusal.INTERNAL
        place = traceback.extract_tb(error.__traceback__)[-1]
        _LOG.error("%s at %s:%s", type(error).__name__, Path(place.filename).name, place.lineno)
    return _abort(context, refusal)


def _abort(context: grpc.ServicerContext, refusal: Refusal) -> NoReturn:
    context.set_trailing_metadata((*_RELEASE, (METADATA_KEY, refusal.value)))
    context.abort(_STATUS.get(refusal, grpc.StatusCode.INVALID_ARGUMENT), refusal.sentence)
    raise RuntimeError("abort returned")  # it raises; this is for the type checker


def _refusal(error: NorenError) -> Refusal:
    """The code that crosses the wire: the error's own if it is one of them, else its family's."""
    if error.code in set(Refusal):
        return Refusal(error.code)
    families = (
        (VerificationError, Refusal.NOT_VERIFIED),
        (DataError, Refusal.BAD_DATA),
        (RemoteProtocolError, Refusal.PROTOCOL_VIOLATION),
        (BudgetExceededError, Refusal.EVALUATION_LIMIT),
    )
    return next((refusal for family, refusal in families if isinstance(error, family)), Refusal.INTERNAL)


def refused(refusal: Refusal) -> RemoteProtocolError:
    """The error of a call that ends with this code."""
    return RemoteProtocolError(refusal.sentence, code=refusal)
