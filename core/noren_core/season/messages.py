"""The training messages as values, and their encoding (docs/protocol.md §4.1).

Bytes become a frozen value here or are refused here; what leaves this module is bounded and well
formed, though not yet true: signatures and proofs are checked by the machines that use them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from noren_core import ids
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.errors import DataError, RemoteProtocolError
from noren_core.ledger.proofs import EntryProof, LedgerProof
from noren_core.season.plan import (
    MAX_COMPANIES,
    MAX_DIMENSIONS,
    MAX_MESSAGE_BYTES,
    MAX_ROUNDS,
    MAX_SENTINELS,
)
from noren_core.season.round_consents import RoundConsents
from noren_core.secagg.messages import Advertisement, PeerShare, Unmasking
from noren_core.wire.v1 import training_pb2 as wire

_REPLY_LABEL = b"noren/v1/training-reply"
_MAX_COORDINATES = MAX_DIMENSIONS + 1 + MAX_SENTINELS

M = TypeVar("M", wire.TrainingRequest, wire.TrainingReply, wire.SignedReply)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A finished round as companies need it: who contributed, and their blinded sum."""

    round_number: int
    survivors: tuple[str, ...]
    values: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AdvertiseRequest:
    """Make and sign the keys of all rounds."""

    campaign: str


@dataclass(frozen=True, slots=True)
class ShareRequest:
    """Share the secrets of all rounds among the companies that advertised."""

    campaign: str
    advertisements: Mapping[str, Advertisement]


@dataclass(frozen=True, slots=True)
class MaskedInputRequest:
    """Compute one round without the rows that `consents` names; `finished` brings the head up to date."""

    campaign: str
    round_number: int
    proof: LedgerProof
    sealed_shares: Mapping[str, bytes]
    finished: tuple[Aggregate, ...]
    consents: RoundConsents


@dataclass(frozen=True, slots=True)
class UnmaskRequest:
    """Name the survivors of a round and ask for the shares that unmask their sum."""

    campaign: str
    round_number: int
    survivors: tuple[str, ...]
    cohort_signatures: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class FinishRequest:
    """The last aggregates, and set-up that never arrived; the company keeps the head that results."""

    campaign: str
    finished: tuple[Aggregate, ...]
    sealed_shares: Mapping[str, bytes]
    cohort_signatures: Mapping[str, bytes]


Request = AdvertiseRequest | ShareRequest | MaskedInputRequest | UnmaskRequest | FinishRequest


@dataclass(frozen=True, slots=True)
class AdvertiseReply:
    """This company's signed keys, and its commitment to noise seed and training rows."""

    advertisement: Advertisement
    commitment: bytes


@dataclass(frozen=True, slots=True)
class ShareReply:
    """Contribution and shares, sealed by recipient; the intent of round 1."""

    sealed_shares: Mapping[str, bytes]
    intent: bytes


@dataclass(frozen=True, slots=True)
class MaskedInputReply:
    """The masked, blinded, noised sum; settles of the rounds just applied; in round 1 a cohort signature."""

    masked: npt.NDArray[np.uint64]
    settles: tuple[bytes, ...]
    cohort_signature: bytes


@dataclass(frozen=True, slots=True)
class UnmaskReply:
    """One share per peer, the signature over the survivors, and the intent of the next round (or none)."""

    unmasking: Unmasking
    next_intent: bytes


@dataclass(frozen=True, slots=True)
class FinishReply:
    """Settles of the last rounds."""

    settles: tuple[bytes, ...]


Reply = AdvertiseReply | ShareReply | MaskedInputReply | UnmaskReply | FinishReply


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply and the size of the newest checkpoint that the company keeps, for the next proof."""

    reply: Reply
    known_tree_size: int


def encode_request(request: Request) -> bytes:
    """The bytes of a request."""
    message = wire.TrainingRequest()
    match request:
        case AdvertiseRequest(campaign):
            message.advertise.campaign = campaign
        case ShareRequest(campaign, advertisements):
            message.share.campaign = campaign
            for company, advertisement in advertisements.items():
                message.share.advertisements.add(
                    company=company, advertisement=_advertisement_to_wire(advertisement)
                )
        case MaskedInputRequest():
            _masked_input_to_wire(request, message.masked_input)
        case UnmaskRequest(campaign, round_number, survivors, cohort_signatures):
            message.unmask.CopyFrom(
                wire.UnmaskRequest(
                    campaign=campaign,
                    round=round_number,
                    survivors=survivors,
                    cohort_signatures=_named_to_wire(cohort_signatures),
                )
            )
        case FinishRequest(campaign, finished, sealed_shares, cohort_signatures):
            message.finish.CopyFrom(
                wire.FinishRequest(
                    campaign=campaign,
                    finished=map(_aggregate_to_wire, finished),
                    sealed_shares=_named_to_wire(sealed_shares),
                    cohort_signatures=_named_to_wire(cohort_signatures),
                )
            )
    return message.SerializeToString(deterministic=True)


def parse_request(data: bytes) -> Request:
    """The request in `data`; RemoteProtocolError if it is malformed or out of bounds."""
    message = _decoded(wire.TrainingRequest(), data)
    match message.WhichOneof("kind"):
        case "advertise":
            return AdvertiseRequest(_name(message.advertise.campaign))
        case "share":
            named = {
                _name(item.company): _advertisement_from_wire(item.advertisement)
                for item in _bounded(message.share.advertisements, MAX_COMPANIES)
            }
            return ShareRequest(_name(message.share.campaign), named)
        case "masked_input":
            return _masked_input_from_wire(message.masked_input)
        case "unmask":
            part = message.unmask
            return UnmaskRequest(
                _name(part.campaign),
                _round(part.round),
                _names(part.survivors),
                _named(part.cohort_signatures),
            )
        case "finish":
            return _finish_from_wire(message.finish)
        case _:
            raise RemoteProtocolError("training request: expected one known kind, got none")


def sign_answer(answer: Answer, *, company: str, request: bytes, key: SigningKey) -> bytes:
    """The bytes of a company's answer to exactly this request, signed by the company."""
    reply = _encode_answer(answer)
    signature = key.sign(_REPLY_LABEL, _reply_statement(company, request, reply))
    return wire.SignedReply(reply=reply, signature=signature).SerializeToString(deterministic=True)


def open_answer(data: bytes, *, company: str, request: bytes, public_key: bytes) -> Answer:
    """The answer in `data`, if `company` gave it to this very request.

    Raises:
        RemoteProtocolError: if it is malformed or out of bounds.
        VerificationError: if it is not signed by the company's enrolled key for this request.
    """
    signed = _decoded(wire.SignedReply(), data)
    verify_signature(
        public_key, _REPLY_LABEL, _reply_statement(company, request, signed.reply), signed.signature
    )
    return parse_answer(signed.reply)


def _reply_statement(company: str, request: bytes, reply: bytes) -> bytes:
    """Fixed-length hashes, so that no two different triples give the same bytes."""
    return b"".join(hashlib.sha256(part).digest() for part in (company.encode(), request, reply))


def _encode_answer(answer: Answer) -> bytes:
    message = wire.TrainingReply(known_tree_size=answer.known_tree_size)
    match answer.reply:
        case AdvertiseReply(advertisement, commitment):
            message.advertise.advertisement.CopyFrom(_advertisement_to_wire(advertisement))
            message.advertise.commitment = commitment
        case ShareReply(sealed_shares, intent):
            message.share.CopyFrom(
                wire.ShareReply(sealed_shares=_named_to_wire(sealed_shares), intent=intent)
            )
        case MaskedInputReply(masked, settles, cohort_signature):
            message.masked_input.CopyFrom(
                wire.MaskedInputReply(
                    masked=masked.astype("<u8").tobytes(),
                    settles=settles,
                    cohort_signature=cohort_signature,
                )
            )
        case UnmaskReply(unmasking, next_intent):
            message.unmask.CopyFrom(_unmasking_to_wire(unmasking, next_intent))
        case FinishReply(settles):
            message.finish.CopyFrom(wire.FinishReply(settles=settles))
    return message.SerializeToString(deterministic=True)


def parse_answer(data: bytes) -> Answer:
    """The answer in an unsigned reply; RemoteProtocolError if it is malformed or out of bounds."""
    message = _decoded(wire.TrainingReply(), data)
    return Answer(_reply(message), message.known_tree_size)


def _reply(message: wire.TrainingReply) -> Reply:
    match message.WhichOneof("kind"):
        case "advertise":
            advertisement = _advertisement_from_wire(message.advertise.advertisement)
            return AdvertiseReply(advertisement, message.advertise.commitment)
        case "share":
            return ShareReply(_named(message.share.sealed_shares), message.share.intent)
        case "masked_input":
            part = message.masked_input
            masked = _vector(part.masked, "<u8").astype(np.uint64)
            return MaskedInputReply(masked, _settles(part.settles), part.cohort_signature)
        case "unmask":
            return UnmaskReply(_unmasking_from_wire(message.unmask), message.unmask.next_intent)
        case "finish":
            return FinishReply(_settles(message.finish.settles))
        case _:
            raise RemoteProtocolError("training reply: expected one known kind, got none")


def _decoded(message: M, data: bytes) -> M:
    if len(data) > MAX_MESSAGE_BYTES:
        raise RemoteProtocolError(f"training message: expected at most {MAX_MESSAGE_BYTES} bytes")
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise RemoteProtocolError("training message: expected protocol buffers, got other bytes") from error
    return message


def _advertisement_to_wire(value: Advertisement) -> wire.Advertisement:
    return wire.Advertisement(
        share_key=value.share_key,
        round_keys=value.round_keys,
        seed_commitments=value.seed_commitments,
        contribution_commitment=value.contribution_commitment,
        signature=value.signature,
    )


def _advertisement_from_wire(message: wire.Advertisement) -> Advertisement:
    return Advertisement(
        share_key=message.share_key,
        round_keys=tuple(_bounded(message.round_keys, MAX_ROUNDS)),
        seed_commitments=tuple(_bounded(message.seed_commitments, MAX_ROUNDS)),
        contribution_commitment=message.contribution_commitment,
        signature=message.signature,
    )


def _masked_input_to_wire(request: MaskedInputRequest, message: wire.MaskedInputRequest) -> None:
    message.campaign = request.campaign
    message.round = request.round_number
    message.proof.CopyFrom(proof_to_wire(request.proof))
    message.sealed_shares.extend(_named_to_wire(request.sealed_shares))
    message.finished.extend(map(_aggregate_to_wire, request.finished))
    message.revocations = request.consents.revocations
    message.revocations_signature = request.consents.signature
    message.consents_salt = request.consents.salt


def _masked_input_from_wire(message: wire.MaskedInputRequest) -> MaskedInputRequest:
    return MaskedInputRequest(
        campaign=_name(message.campaign),
        round_number=_round(message.round),
        proof=proof_from_wire(message.proof),
        sealed_shares=_named(message.sealed_shares),
        finished=_aggregates(message.finished),
        consents=_consents(message),
    )


def _consents(message: wire.MaskedInputRequest) -> RoundConsents:
    try:
        return RoundConsents(message.revocations, message.revocations_signature, message.consents_salt)
    except DataError as error:
        raise RemoteProtocolError(error.message) from error


def _finish_from_wire(message: wire.FinishRequest) -> FinishRequest:
    return FinishRequest(
        campaign=_name(message.campaign),
        finished=_aggregates(message.finished),
        sealed_shares=_named(message.sealed_shares),
        cohort_signatures=_named(message.cohort_signatures),
    )


def proof_to_wire(proof: LedgerProof) -> wire.LedgerProof:
    """A ledger proof as it travels; the inverse of `proof_from_wire`."""
    return wire.LedgerProof(
        checkpoint=proof.checkpoint,
        consistency=proof.consistency,
        entries=[
            wire.EntryProof(index=item.index, entry=item.entry, inclusion=item.inclusion)
            for item in proof.entries
        ],
    )


def proof_from_wire(message: wire.LedgerProof) -> LedgerProof:
    """The proof as a value; its claims are checked by `noren_core.ledger.proofs`."""
    return LedgerProof(
        checkpoint=message.checkpoint,
        consistency=tuple(_bounded(message.consistency, 64)),
        entries=tuple(
            EntryProof(item.index, item.entry, tuple(_bounded(item.inclusion, 64)))
            for item in _bounded(message.entries, 10 * MAX_COMPANIES)
        ),
    )


def _aggregate_to_wire(value: Aggregate) -> wire.Aggregate:
    return wire.Aggregate(
        round=value.round_number, survivors=value.survivors, values=value.values.astype("<i8").tobytes()
    )


def _aggregates(messages: Iterable[wire.Aggregate]) -> tuple[Aggregate, ...]:
    return tuple(
        Aggregate(_round(m.round), _names(m.survivors), _vector(m.values, "<i8").astype(np.int64))
        for m in _bounded(messages, MAX_ROUNDS)
    )


def _unmasking_to_wire(value: Unmasking, next_intent: bytes) -> wire.UnmaskReply:
    return wire.UnmaskReply(
        shares=[
            wire.PeerShare(company=s.company, is_self_mask=s.is_self_mask, share=s.share)
            for s in value.shares
        ],
        survivors_signature=value.signature,
        next_intent=next_intent,
    )


def _unmasking_from_wire(message: wire.UnmaskReply) -> Unmasking:
    return Unmasking(
        shares=tuple(
            PeerShare(_name(item.company), item.is_self_mask, item.share)
            for item in _bounded(message.shares, MAX_COMPANIES)
        ),
        signature=message.survivors_signature,
    )


def _named_to_wire(values: Mapping[str, bytes]) -> list[wire.NamedBytes]:
    return [wire.NamedBytes(company=company, value=value) for company, value in values.items()]


def _named(messages: Iterable[wire.NamedBytes]) -> dict[str, bytes]:
    items = _bounded(messages, MAX_COMPANIES)
    result = {_name(item.company): item.value for item in items}
    if len(result) != len(items):
        raise RemoteProtocolError("training message: expected each company once, got one twice")
    return result


def _settles(messages: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(_bounded(messages, MAX_ROUNDS))


def _bounded(items: Iterable[T], most: int) -> list[T]:
    result = list(items)
    if len(result) > most:
        raise RemoteProtocolError(f"training message: expected at most {most} items, got {len(result)}")
    return result


def _vector(data: bytes, dtype: str) -> npt.NDArray[np.generic]:
    if len(data) % 8 or len(data) > 8 * _MAX_COORDINATES:
        raise RemoteProtocolError(f"vector: expected at most {_MAX_COORDINATES} 64-bit integers")
    return np.frombuffer(data, dtype=dtype)


def _names(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(_name(text) for text in _bounded(texts, MAX_COMPANIES))


def _name(text: str) -> str:
    try:
        return ids.parse_name(text, "training message")
    except DataError as error:
        raise RemoteProtocolError(error.message) from error


def _round(value: int) -> int:
    if not 1 <= value <= MAX_ROUNDS:
        raise RemoteProtocolError(f"round: expected 1 to {MAX_ROUNDS}, got {value}")
    return value
