"""The company's side of Flower: one opaque payload in, one opaque payload or a constant error out.

Refuses every message that is not exactly one record with one bytes field of at most 1 MiB. Reads
nothing else of it and nothing of Flower's run configuration, which the platform controls. Whatever
goes wrong inside, the platform sees the same text: an exception's own could quote a row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from noren_core.errors import NorenError, RemoteProtocolError

RECORD = "noren"
FIELD = "payload"
MAX_PAYLOAD_BYTES = 1 << 20
COMPANY_DIR_KEY = "company-dir"
# Flower's own number for "ClientApp raised an exception"; the reason is the same for all causes.
_REFUSED_CODE = 2
_REFUSED = "refused"

Handle = Callable[[Path, bytes], bytes]

_log = logging.getLogger(__name__)


def make_client_app(handle: Handle) -> ClientApp:
    """A ClientApp that answers each message with `handle(company directory, payload)`."""
    client_app = ClientApp()

    def answer(message: Message, context: Context) -> Message:
        try:
            payload = _parse_payload(message)
            reply = _content(handle(Path(str(context.node_config[COMPANY_DIR_KEY])), payload))
        except NorenError as error:
            # A public sentence, and the only place where the company reads which other one is to blame.
            _log.warning("message refused: %s: %s", error.code, error.message)
        except Exception as error:  # noqa: BLE001  # nothing of it may reach the platform
            _log.error("message failed: %s", type(error).__name__)  # its text may quote a row
        else:
            return Message(reply, reply_to=message)
        return refusal(message)

    client_app.train()(answer)
    client_app.query()(answer)
    return client_app


def refusal(message: Message) -> Message:
    """The one error answer there is."""
    return Message(Error(code=_REFUSED_CODE, reason=_REFUSED), reply_to=message)


def _parse_payload(message: Message) -> bytes:
    if not message.has_content() or list(message.content.keys()) != [RECORD]:
        raise RemoteProtocolError("message: expected one record, got other content")
    record = message.content[RECORD]
    if type(record) is not ConfigRecord or list(record.keys()) != [FIELD] or type(record[FIELD]) is not bytes:
        raise RemoteProtocolError("message: expected one bytes field, got other content")
    if not 0 < len(record[FIELD]) <= MAX_PAYLOAD_BYTES:
        raise RemoteProtocolError(
            f"payload: expected 1 to {MAX_PAYLOAD_BYTES} bytes, got {len(record[FIELD])}"
        )
    return bytes(record[FIELD])


def _content(payload: bytes) -> RecordDict:
    return RecordDict({RECORD: ConfigRecord({FIELD: payload})})


def handle_training(company_dir: Path, payload: bytes) -> bytes:
    """What a company does with a message: a step of its training session."""
    from noren_client import training_session
    from noren_client.leaving import sent_bytes
    from noren_core.wire.v1 import training_pb2

    reply = training_session.handle(company_dir, payload)
    step = training_pb2.TrainingRequest.FromString(payload).WhichOneof("kind")
    sent_bytes.note_sent(company_dir, f"Training.{step}", len(reply))
    return reply


app = make_client_app(handle_training)
