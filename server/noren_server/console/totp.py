"""Time-based one-time codes (RFC 6238): SHA-1, six digits, thirty seconds, as authenticators have it.

Promises: codes are compared in constant time; a step counts at most once, so a code that somebody saw is
worth nothing afterwards; the clocks may differ by one step.

Not promised: that the code was typed on our page. Who is led to another site tells that site a good code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from urllib.parse import quote

STEP_SECONDS = 30
DIGITS = 6
DRIFT_STEPS = 1
SECRET_BYTES = 20
"""As long as the hash (RFC 4226 §4, R6)."""


def new_secret() -> bytes:
    """A fresh secret."""
    return secrets.token_bytes(SECRET_BYTES)


def code_of(secret: bytes, step: int) -> str:
    """The code of one step (RFC 4226 §5.3): six digits."""
    digest = hmac.new(secret, step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def step_of(secret: bytes, code: str, *, now: int, after: int) -> int | None:
    """The step that `code` is of, or None.

    Args:
        secret: of the person.
        code: what she typed.
        now: Unix seconds.
        after: the last step that was used; it and those before do not count again.
    """
    current = now // STEP_SECONDS
    candidates = range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1)
    typed = code.encode(errors="replace")
    right = [step for step in candidates if hmac.compare_digest(code_of(secret, step).encode(), typed)]
    return next((step for step in right if step > after), None)


def secret_text(secret: bytes) -> str:
    """The secret as it is typed where no picture can be read: base32 in groups of four."""
    text = base64.b32encode(secret).decode()
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def enrolment_uri(secret: bytes, *, person: str, platform: str) -> str:
    """What the picture says (the otpauth scheme of authenticator programs)."""
    label = quote(f"{platform}:{person}")
    text = base64.b32encode(secret).decode()
    return (
        f"otpauth://totp/{label}?secret={text}&issuer={quote(platform)}&digits={DIGITS}&period={STEP_SECONDS}"
    )


def picture(uri: str) -> str:
    """The QR code as a data: address of a PNG image, black on white in both colour schemes."""
    import segno

    made: str = segno.make(uri, error="m").png_data_uri(scale=5, border=4)
    return made
