"""The people of the platform: names, roles, and how each shows that it is her.

    console/people.json    secret: everybody with her roles, the scrypt hash of her password, her TOTP secret
    console/lock           held while the register is changed

Promises: nobody holds two roles that exclude each other; whoever gives roles holds none besides; somebody who
can give roles is always left. A password is never stored; a TOTP code counts once, a recovery code once; a
wrong name, a wrong password and a wrong code are one answer and one amount of work; wrong answers lock an
account for a while, on disk, so that a restart forgives nothing. Every change of what somebody may do gives
her another epoch: sessions of an older one are over.

Not promised: protection from who can write the platform's files. What the register holds apart are people
who use the console.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import itertools
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from noren_core import canonical_json, ids
from noren_core.crypto.sealed_files import SealedFiles
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError, NorenError
from noren_core.rights import fields
from noren_core.rights.fields import read_fields
from noren_core.rights.gate.roles import Assignment, Role, verify_separation
from noren_server.console import totp

REGISTER = "console/people.json"
MIN_PASSWORD, MAX_PASSWORD = 12, 200
MAX_PEOPLE = 500
MAX_FAILURES = 5
LOCK_SECONDS = 900
CODE_SECONDS = 3 * 86_400
RECOVERY_CODES = 10

_SALT_BYTES, _HASH_BYTES = 16, 32
_CODE_BYTES, _RECOVERY_BYTES = 20, 10
# What OWASP recommends for scrypt with 32 MiB, as for the staff of companies (noren_local.staff).
_COST, _BLOCK, _PARALLEL = 1 << 15, 8, 3
_MIN_DIFFERENT = 5
_TRIVIAL = (
    *("password", "passw0rd", "p@ssw0rd", "p@ssword", "letmein", "welcome", "qwerty", "qwertz", "azerty"),
    *("asdfgh", "zxcvbn", "1q2w3e", "abcdef", "abc123", "123456", "654321", "987654", "111111", "000000"),
    *("iloveyou", "admin", "administrator", "changeme", "secret", "dragon", "monkey", "football", "noren"),
    *("sakura", "nippon", "tokyo", "kaisha", "pasuwado"),
)


class ConsoleRole(StrEnum):
    """What somebody of the platform can be. All but the first are roles of core's table."""

    ADMINISTRATOR = "administrator"
    CONSENT_ADMIN = Role.CONSENT_ADMIN.value
    ML_OPERATOR = Role.ML_OPERATOR.value
    PRIVACY_OFFICER = Role.PRIVACY_OFFICER.value
    AUDITOR = Role.AUDITOR.value


class AccountState(StrEnum):
    """How far an account is."""

    INVITED = "invited"
    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody of the platform.

    Attributes:
        name: as it is recorded where she acts.
        handle: stands for her in addresses of pages; random.
        roles: sorted.
        subject: what the identity provider calls her; empty: she signs in with a password.
        epoch: grows with every change of what she may do.
        salt, password_hash: of her password; empty until she joined.
        totp_secret: empty until she joined.
        used_step: the last step of a TOTP code that was used.
        recovery: hashes of her recovery codes that are left.
        failures: wrong answers since the last right one.
        locked_until: Unix seconds before which no answer is looked at.
        code_hash, code_until: of her one-time code to join; empty if there is none.
    """

    name: str
    handle: str
    roles: tuple[ConsoleRole, ...]
    state: AccountState
    subject: str = ""
    epoch: int = 0
    salt: bytes = field(default=b"", repr=False)
    password_hash: bytes = field(default=b"", repr=False)
    totp_secret: bytes = field(default=b"", repr=False)
    used_step: int = 0
    recovery: tuple[bytes, ...] = field(default=(), repr=False)
    failures: int = 0
    locked_until: int = 0
    code_hash: bytes = field(default=b"", repr=False)
    code_until: int = 0

    @property
    def is_administrator(self) -> bool:
        """Whether she gives roles."""
        return ConsoleRole.ADMINISTRATOR in self.roles

    def to_body(self) -> dict[str, Any]:
        """As it stands in the register."""
        return {
            "name": self.name,
            "handle": self.handle,
            "roles": [role.value for role in self.roles],
            "state": self.state.value,
            "subject": self.subject,
            "epoch": self.epoch,
            "salt": self.salt.hex(),
            "password_hash": self.password_hash.hex(),
            "totp_secret": self.totp_secret.hex(),
            "used_step": self.used_step,
            "recovery": [item.hex() for item in self.recovery],
            "failures": self.failures,
            "locked_until": self.locked_until,
            "code_hash": self.code_hash.hex(),
            "code_until": self.code_until,
        }

    @classmethod
    def from_body(cls, body: Any) -> Self:
        """The account that `to_body` gave; DataError for anything else."""
        found = read_fields(body, _FIELDS, "account")
        verify_roles(found["roles"])
        return cls(**found)


_FIELDS: dict[str, fields.Parse] = {
    "name": fields.name,
    "handle": fields.text,
    "roles": fields.list_of(fields.word_of(ConsoleRole)),
    "state": fields.word_of(AccountState),
    "subject": fields.text,
    "epoch": fields.integer,
    "salt": fields.hex_bytes,
    "password_hash": fields.hex_bytes,
    "totp_secret": fields.hex_bytes,
    "used_step": fields.integer,
    "recovery": fields.list_of(fields.hex_bytes),
    "failures": fields.integer_in(0, MAX_FAILURES),
    "locked_until": fields.seconds,
    "code_hash": fields.hex_bytes,
    "code_until": fields.seconds,
}
_REGISTER: dict[str, fields.Parse] = {"people": fields.list_of(Account.from_body, most=MAX_PEOPLE)}


def parse_roles(words: Collection[str]) -> tuple[ConsoleRole, ...]:
    """The roles of these words, sorted, if one person may hold them all.

    Raises:
        DataError: for another word, or none.
        LocalProtocolError: as `verify_roles`.
    """
    if not words or not set(words) <= set(ConsoleRole):
        raise DataError(f"roles: expected some of {', '.join(ConsoleRole)}; got others or none")
    roles = tuple(sorted({ConsoleRole(word) for word in words}))
    verify_roles(roles)
    return roles


def verify_roles(roles: Collection[ConsoleRole]) -> None:
    """Raise LocalProtocolError (SEPARATION_OF_DUTIES) if one person may not hold all of these."""
    if ConsoleRole.ADMINISTRATOR in roles and len(set(roles)) > 1:
        raise LocalProtocolError(
            "roles: expected the administrator, who gives roles, to hold no other; got another besides",
            code="SEPARATION_OF_DUTIES",
        )
    verify_separation([Assignment(Role(role)) for role in roles if role is not ConsoleRole.ADMINISTRATOR])


def excluding_pairs() -> tuple[tuple[ConsoleRole, ConsoleRole], ...]:
    """The pairs of roles that one person may not hold, for a page that says so."""
    return tuple(pair for pair in itertools.combinations(ConsoleRole, 2) if _excludes(pair))


def verify_password(password: str, *, name: str) -> None:
    """Raise DataError (PASSWORD_REFUSED) for one that is too short, too long, or guessed among the first.

    Length is what counts (NIST SP 800-63B §5.1.1.2): no classes of characters are demanded.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise DataError(
            f"password: expected {MIN_PASSWORD} to {MAX_PASSWORD} characters, got another length",
            code="PASSWORD_REFUSED",
        )
    left = password.lower()
    for word in (name, *_TRIVIAL):
        left = left.replace(word, "")
    if len(left) <= MIN_PASSWORD // 2 or len(set(password)) < _MIN_DIFFERENT or _is_sequence(left):
        raise DataError(
            "password: expected one that is not guessed first, got a name, common word or row of keys",
            code="PASSWORD_REFUSED",
        )


class Accounts:
    """The register of one platform; every change locks it, reads it whole and replaces it."""

    def __init__(self, directory: Path, secret_files: SealedFiles, clock: Callable[[], int]) -> None:
        self._directory = directory
        self._secrets = secret_files
        self._clock = clock

    def everybody(self) -> tuple[Account, ...]:
        """All accounts, by name."""
        kept = self._secrets.read(REGISTER)
        if kept is None:
            return ()
        try:
            body = canonical_json.parse_object(kept.reveal())
            people: tuple[Account, ...] = read_fields(body, _REGISTER, "people")["people"]
        except NorenError as error:
            raise ConfigurationError(
                "console/people.json: expected the one that was kept, got another file"
            ) from error
        return people

    def account(self, name: str) -> Account:
        """Somebody by her name; LocalProtocolError (NOT_FOUND) if there is nobody."""
        return _found(account for account in self.everybody() if account.name == name)

    def with_handle(self, handle: str) -> Account:
        """Somebody by her handle; LocalProtocolError (NOT_FOUND) if there is nobody."""
        return _found(account for account in self.everybody() if account.handle == handle)

    def is_current(self, name: str, epoch: int) -> bool:
        """Whether she is active and may still do what she could in this epoch."""
        return any(
            account.epoch == epoch and account.state is AccountState.ACTIVE
            for account in self.everybody()
            if account.name == name
        )

    def administrators(self) -> tuple[Account, ...]:
        """Who can give roles now."""
        return tuple(a for a in self.everybody() if a.is_administrator and a.state is AccountState.ACTIVE)

    # What an administrator does

    def add(self, name: str, roles: Collection[ConsoleRole], *, subject: str = "") -> str:
        """Add somebody; the one-time code with which she joins, shown once.

        Args:
            name: new; a-z, 0-9, hyphens.
            roles: what she may do.
            subject: what the identity provider calls her; then there is no password and no code to join.

        Raises:
            DataError: for a malformed name or no role.
            LocalProtocolError: SEPARATION_OF_DUTIES; NAME_TAKEN; ROLE_FORBIDDEN, if nobody could give roles.
        """
        ids.parse_name(name, "person")
        given = parse_roles(roles)
        code, made = self._new_code()
        account = Account(name, secrets.token_hex(8), given, AccountState.INVITED, subject)
        account = replace(account, state=AccountState.ACTIVE) if subject else replace(account, **made)
        with self._locked():
            others = self.everybody()
            if any(known.name == name or (subject and known.subject == subject) for known in others):
                raise LocalProtocolError("people: expected a new person, got a known one", code="NAME_TAKEN")
            if len(others) >= MAX_PEOPLE:
                raise DataError(f"people: expected at most {MAX_PEOPLE}, got more")
            self._keep([*others, account])
        return "" if subject else code

    def change_roles(self, name: str, roles: Collection[ConsoleRole]) -> None:
        """Give somebody other roles; her sessions end."""
        given = parse_roles(roles)
        self._change(name, lambda account: replace(account, roles=given, epoch=account.epoch + 1))

    def disable(self, name: str) -> None:
        """Let somebody in no more; her sessions end, what she did stays in the trail."""
        self._change(
            name,
            lambda account: replace(
                account, state=AccountState.DISABLED, epoch=account.epoch + 1, code_hash=b"", code_until=0
            ),
        )

    def renew(self, name: str) -> str:
        """Have somebody join again: she lost her phone or password, or is let in again; her new code."""
        code, made = self._new_code()
        forgotten: dict[str, Any] = {
            "salt": b"",
            "password_hash": b"",
            "totp_secret": b"",
            "recovery": (),
            "failures": 0,
            "locked_until": 0,
        }

        def renewed(account: Account) -> Account:
            if account.subject:  # the provider knows her; there is nothing to join with
                return replace(account, state=AccountState.ACTIVE, epoch=account.epoch + 1)
            state = AccountState.INVITED
            return replace(account, state=state, epoch=account.epoch + 1, **forgotten, **made)

        return "" if self._change(name, renewed).subject else code

    # What she does herself

    def verify_code(self, name: str, code: str) -> Account:
        """Whoever was invited under this name with this code; LocalProtocolError as `authenticate`."""
        return self._answered(name, lambda account: _is_code_of(account, code, self._clock()))

    def join(self, name: str, code: str, *, password: str, secret: bytes, typed: str) -> tuple[str, ...]:
        """Set password and authenticator with the one-time code; her recovery codes, shown once.

        1. The password is one that is taken.
        2. The one-time code is hers and has not expired.
        3. The authenticator shows the code of this secret.
        4. All of it is kept, and the one-time code is worth nothing any more.

        Raises:
            DataError: PASSWORD_REFUSED, CODE_WRONG after step 3; nothing changed.
            LocalProtocolError: as `authenticate`.
        """
        verify_password(password, name=name)  # 1
        self.verify_code(name, code)  # 2
        step = totp.step_of(secret, typed, now=self._clock(), after=0)  # 3
        if step is None:
            raise DataError(
                "authenticator: expected the code that it shows now, got another", code="CODE_WRONG"
            )
        salt = secrets.token_bytes(_SALT_BYTES)
        made: dict[str, Any] = {"salt": salt, "password_hash": _hashed(password, salt), "totp_secret": secret}
        codes, hashes = _recovery_codes()

        def joined(account: Account) -> Account:  # 4
            if not _is_code_of(account, code, self._clock()):
                raise not_recognised()
            return replace(
                account,
                **made,
                state=AccountState.ACTIVE,
                epoch=account.epoch + 1,
                used_step=step,
                recovery=hashes,
                failures=0,
                locked_until=0,
                code_hash=b"",
                code_until=0,
            )

        self._change(name, joined)
        return codes

    def authenticate(self, name: str, password: str, second: str) -> Account:
        """The person of this name, with her password and the code of her authenticator or a recovery code.

        1. Locked: no answer is looked at.
        2. The password; for a name that nobody has, the same work.
        3. The second: a TOTP code of a step that was not used, or a recovery code that is left.
        4. A wrong answer counts, on disk before this returns, and the last one locks; a right one uses up.

        Raises:
            LocalProtocolError: with code ACCOUNT_LOCKED after step 1 or 4, NOT_RECOGNISED after 2 or 3.
        """
        return self._answered(name, lambda account: self._with_both(account, password, second))

    def of_subject(self, subject: str) -> Account:
        """The active person whom the identity provider calls so; LocalProtocolError (NOT_RECOGNISED)."""
        for account in self.everybody():
            if subject and account.subject == subject and account.state is AccountState.ACTIVE:
                return account
        raise not_recognised()

    def change_password(self, name: str, password: str, second: str, *, new: str) -> None:
        """Replace her own password; errors as `authenticate` and `verify_password`. Her sessions end."""
        verify_password(new, name=name)
        self.authenticate(name, password, second)
        salt = secrets.token_bytes(_SALT_BYTES)
        made: dict[str, Any] = {"salt": salt, "password_hash": _hashed(new, salt)}
        self._change(name, lambda account: replace(account, **made, epoch=account.epoch + 1))

    def new_recovery_codes(self, name: str, password: str, second: str) -> tuple[str, ...]:
        """Replace her recovery codes; they are shown once. Errors as `authenticate`."""
        self.authenticate(name, password, second)
        codes, hashes = _recovery_codes()
        self._change(name, lambda account: replace(account, recovery=hashes))
        return codes

    def _with_both(self, account: Account | None, password: str, second: str) -> Account | None:
        """The account as it is after a right answer; None after a wrong one."""
        salt = account.salt if account is not None and account.salt else bytes(_SALT_BYTES)
        is_right = hmac.compare_digest(
            _hashed(password, salt), b"" if account is None else account.password_hash
        )
        if account is None or not is_right or account.state is not AccountState.ACTIVE:
            return None
        typed = "".join(second.split()).replace("-", "").lower()
        step = totp.step_of(account.totp_secret, typed, now=self._clock(), after=account.used_step)
        if step is not None:
            return replace(account, used_step=step)
        digest = _digest("recovery", typed)
        left = tuple(item for item in account.recovery if not hmac.compare_digest(item, digest))
        return None if left == account.recovery else replace(account, recovery=left)

    def _answered(self, name: str, look: Callable[[Account | None], Account | None]) -> Account:
        """What `look` makes of the account, kept; wrong answers counted."""
        now = self._clock()
        with self._locked():
            people = {account.name: account for account in self.everybody()}
            account = people.get(name)
            if account is not None and now < account.locked_until:
                raise _locked_out()
            after = look(account)
            if after is not None:
                people[name] = replace(after, failures=0, locked_until=0)
                if people[name] != account:
                    self._write(people.values())
                return people[name]
            if account is None:
                raise not_recognised()
            failures = account.failures + 1
            is_last = failures >= MAX_FAILURES
            people[name] = replace(
                account,
                failures=0 if is_last else failures,
                locked_until=now + LOCK_SECONDS if is_last else 0,
            )
            self._write(people.values())
            raise _locked_out() if is_last else not_recognised()

    def _new_code(self) -> tuple[str, dict[str, Any]]:
        code = secrets.token_hex(_CODE_BYTES)
        return code, {"code_hash": _digest("join", code), "code_until": self._clock() + CODE_SECONDS}

    def _change(self, name: str, change: Callable[[Account], Account]) -> Account:
        with self._locked():
            people = {account.name: account for account in self.everybody()}
            if name not in people:
                raise LocalProtocolError("people: expected a known person, got another", code="NOT_FOUND")
            people[name] = change(people[name])
            self._keep(list(people.values()))
            return people[name]

    def _keep(self, people: Sequence[Account]) -> None:
        if not any(item.is_administrator and item.state is not AccountState.DISABLED for item in people):
            raise LocalProtocolError(
                "people: expected an administrator first and last, got nobody who can give roles",
                code="ROLE_FORBIDDEN",
            )
        self._write(people)

    def _write(self, people: Collection[Account]) -> None:
        ordered = sorted(people, key=lambda account: account.name)
        body = {"people": [account.to_body() for account in ordered]}
        self._secrets.write(REGISTER, canonical_json.encode(body))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        directory = self._directory / "console"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def not_recognised() -> LocalProtocolError:
    """One answer for a wrong name, password, code or subject."""
    return LocalProtocolError(
        "sign-in: expected the name, password and code of one person, got others", code="NOT_RECOGNISED"
    )


def _found(found: Iterator[Account]) -> Account:
    account = next(found, None)
    if account is None:
        raise LocalProtocolError("people: expected a known person, got another", code="NOT_FOUND")
    return account


def _excludes(pair: tuple[ConsoleRole, ConsoleRole]) -> bool:
    try:
        verify_roles(pair)
    except LocalProtocolError:
        return True
    return False


def _is_sequence(text: str) -> bool:
    """Whether every character follows the one before, as in 123456 or fedcba."""
    steps = {ord(b) - ord(a) for a, b in itertools.pairwise(text)}
    return len(steps) == 1 and steps <= {-1, 0, 1}


def _is_code_of(account: Account | None, code: str, now: int) -> Account | None:
    expected = b"" if account is None else account.code_hash
    is_right = hmac.compare_digest(_digest("join", "".join(code.split())), expected)
    if account is None or not is_right or account.state is not AccountState.INVITED:
        return None
    return account if now < account.code_until else None


def _recovery_codes() -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    """Codes in groups of five hex digits, and their hashes; 80 random bits need no slow hash."""
    plain = [secrets.token_hex(_RECOVERY_BYTES) for _ in range(RECOVERY_CODES)]
    shown = tuple("-".join(text[i : i + 5] for i in range(0, len(text), 5)) for text in plain)
    return shown, tuple(_digest("recovery", text) for text in plain)


def _digest(purpose: str, text: str) -> bytes:
    return hashlib.sha256(f"noren/v1/console/{purpose}\0{text}".encode(errors="replace")).digest()


def _hashed(password: str, salt: bytes) -> bytes:
    kdf = Scrypt(salt=salt, length=_HASH_BYTES, n=_COST, r=_BLOCK, p=_PARALLEL)
    return kdf.derive(password.encode(errors="replace"))


def _locked_out() -> LocalProtocolError:
    return LocalProtocolError(
        f"sign-in: too many wrong answers; expected {LOCK_SECONDS} s without any", code="ACCOUNT_LOCKED"
    )
