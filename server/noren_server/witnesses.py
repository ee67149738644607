"""Asking witnesses to cosign our checkpoints (C2SP tlog-witness), and believing only what verifies.

A witness is somebody else's server that keeps the newest checkpoint of ours that it has seen and cosigns
those that extend it. It learns origin, size and root of the ledger and nothing of what stands there. What it
answers is bounded in bytes and time; a cosignature that does not verify is no cosignature.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from noren_core.errors import ConfigurationError, DataError, LocalProtocolError, VerificationError
from noren_core.ledger.add_checkpoint import PATH, AddCheckpoint, parse_known_size
from noren_core.ledger.checkpoint import claimed_size
from noren_core.ledger.cosignature import CosignerKey, verify_cosignature
from noren_core.ledger.note import MAX_NOTE_BYTES, Note, NoteSignature, parse_note
from noren_core.season.plan import MAX_WITNESSES, Witnesses
from noren_server.ledger_store import LedgerStore

TIMEOUT_SECONDS = 10.0
_CHECKPOINTS = 3
_OK, _CONFLICT = 200, 409
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """Where a witness listens (its submission prefix, http or https) and what it signs with."""

    url: str
    key: CosignerKey

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ConfigurationError("witness: expected url to be http(s)://host[:port][/path]")


class _SeenMoreError(VerificationError):
    """The witness has cosigned a larger tree than the one that we asked about."""


class WitnessPanel:
    """The witnesses that this platform asks, and how many of them are enough."""

    def __init__(self, addresses: tuple[WitnessAddress, ...] = (), quorum: int = 0) -> None:
        """Check the configuration.

        Raises:
            ConfigurationError: for more than 16 witnesses, two with one public key, or a quorum that is not
                between 1 and their number (0 if there are none).
        """
        count = len(addresses)
        if count > MAX_WITNESSES or len({item.key.public_key for item in addresses}) != count:
            raise ConfigurationError(
                f"witness: expected at most {MAX_WITNESSES} witnesses, each of another key"
            )
        if not min(1, count) <= quorum <= count:
            raise ConfigurationError(f"witness_quorum: expected 1 to {count}, the number of witnesses")
        self._addresses = addresses
        self._quorum = quorum
        self._known_sizes: dict[CosignerKey, int] = {}

    @property
    def stated(self) -> Witnesses:
        """Keys and quorum as a plan states them."""
        keys = sorted(address.key.to_text() for address in self._addresses)
        return Witnesses(tuple(keys), self._quorum)

    def cosigned(self, store: LedgerStore) -> bytes:
        """A fresh checkpoint of `store` with every cosignature that arrived in time.

        1. Sign a checkpoint over everything that is in the ledger now.
        2. Ask all witnesses at once; take the lines that verify.
        3. Enough is enough. If a witness has seen more than our checkpoint, another process of ours was
           faster, or our ledger was restored from an old copy: try again with a new one, a few times.

        Raises:
            LocalProtocolError: with code WITNESS_QUORUM, if fewer than the quorum cosigned.
        """
        if not self._addresses:
            return store.checkpoint()
        lines: list[NoteSignature] = []
        for _ in range(_CHECKPOINTS):
            note = parse_note(store.checkpoint())  # 1
            lines, is_outrun = self._ask_all(store, note)  # 2
            if len(lines) >= self._quorum:  # 3
                return Note(note.text, (*note.signatures, *lines)).to_bytes()
            if not is_outrun:
                break
        raise LocalProtocolError(
            f"ledger: expected cosignatures of {self._quorum} witnesses, got {len(lines)}",
            code="WITNESS_QUORUM",
        )

    def verify_newest(self, store: LedgerStore) -> None:
        """See that the witnesses know of nothing that is not in `store`; they cosign what is.

        Raises:
            LocalProtocolError: with code LEDGER_BEHIND, if one has cosigned a larger tree; with code
                WITNESS_QUORUM, if fewer than the quorum answered.
        """
        lines, is_outrun = self._ask_all(store, parse_note(store.checkpoint()))
        if is_outrun:
            raise LocalProtocolError(
                "ledger: expected nobody outside to have seen a larger one, got a witness that has",
                code="LEDGER_BEHIND",
            )
        if len(lines) < self._quorum:
            raise LocalProtocolError(
                f"ledger: expected answers of {self._quorum} witnesses, got {len(lines)}",
                code="WITNESS_QUORUM",
            )

    def _ask_all(self, store: LedgerStore, note: Note) -> tuple[list[NoteSignature], bool]:
        """The verified cosignatures in the order of configuration, and whether somebody has seen more."""

        async def ask_all() -> list[NoteSignature | DataError | VerificationError]:
            return await asyncio.gather(*(self._answer(item, store, note) for item in self._addresses))

        lines, is_outrun = [], False
        for address, answer in zip(self._addresses, asyncio.run(ask_all()), strict=True):
            if isinstance(answer, NoteSignature):
                lines.append(answer)
            else:
                is_outrun |= isinstance(answer, _SeenMoreError)
                _LOG.warning("witness %s: %s", address.key.name, answer.message)
        return lines, is_outrun

    async def _answer(
        self, address: WitnessAddress, store: LedgerStore, note: Note
    ) -> NoteSignature | DataError | VerificationError:
        """The witness's cosignature, or why there is none; when its time is over, we hang up."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._ask(address, store, note)
        except TimeoutError:
            return VerificationError(f"expected an answer within {TIMEOUT_SECONDS:g} seconds, got none")
        except (DataError, VerificationError) as error:
            return error

    async def _ask(self, address: WitnessAddress, store: LedgerStore, note: Note) -> NoteSignature:
        """The witness's cosignature of `note`.

        1. Ask with the size that it knew last.
        2. If it says that it knows another one, ask once more, from there.
        3. Its line, and only its own, verifies.
        """
        size = claimed_size(note.to_bytes())
        async with _client() as client:

            async def post(old_size: int) -> tuple[int, bytes]:
                proof = tuple(store.prove_growth(old_size, size))
                body = AddCheckpoint(old_size, proof, note.to_bytes()).to_bytes()
                return await _post(client, address.url.rstrip("/") + PATH, body)

            # 1
            asked = self._known_sizes.get(address.key, 0)
            status, answer = await post(asked)
            # 2
            if status == _CONFLICT and (known := parse_known_size(answer)) != asked:
                if known > size:
                    raise _SeenMoreError("has cosigned a larger tree than ours")
                status, answer = await post(known)
            if status == _CONFLICT:
                raise VerificationError("has cosigned another tree of this size: a split view")
            if status != _OK:
                raise VerificationError(f"expected status 200, got {status}")
        # 3
        line = _own_line(note, answer, address.key)
        self._known_sizes[address.key] = size
        return line


def _client() -> httpx.AsyncClient:
    """No redirects, no proxies, and no compressed answers, whose size could not be bounded."""
    return httpx.AsyncClient(
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
        follow_redirects=False,
        headers={"Accept-Encoding": "identity", "Content-Type": "text/plain; charset=utf-8"},
    )


async def _post(client: httpx.AsyncClient, url: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer; VerificationError if there is none, or too long a one."""
    answer = bytearray()
    try:
        async with client.stream("POST", url, content=body) as response:
            async for part in response.aiter_raw():
                answer += part
                if len(answer) > MAX_NOTE_BYTES:
                    raise VerificationError(f"expected at most {MAX_NOTE_BYTES} bytes, got more")
            return response.status_code, bytes(answer)
    except httpx.HTTPError as error:
        raise VerificationError(f"cannot be asked: {type(error).__name__}") from error


def _own_line(note: Note, answer: bytes, key: CosignerKey) -> NoteSignature:
    """The witness's one line in its answer; lines of other keys are ignored."""
    cosigned = parse_note(note.to_bytes() + answer)
    if cosigned.text != note.text:
        raise VerificationError("expected signature lines, got another note")
    verify_cosignature(cosigned, key)
    return NoteSignature(key.name, key.key_id, cosigned.signatures_of(key)[-1])
