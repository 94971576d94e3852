"""Settings with keys, and tokens that count or don't, each wrong in one way."""

from __future__ import annotations

import time
from typing import Any

import jwt

from command_api.process.settings import Auth

SECRET = "a-secret-of-this-service-0123456789abcdef"
OTHER_SECRET = "a-secret-of-another-service-0123456789abcd"
AUTH = Auth(hs256_secrets={"now": SECRET}, audience="lockstep", issuer="https://issuer.example", leeway_s=0)  # type: ignore[dict-item]
SUBJECT = "01938d7e-5c3a-7b4e-9f00-3a5b1c2d4e6f"
SOMEBODY_ELSE = "01938d7e-5c3a-7b4e-9f00-000000000000"


def token(
    scope: Any = "read:* command:* metrics",
    *,
    secret: str = SECRET,
    kid: str | None = "now",
    algorithm: str = "HS256",
    without: str = "",
    **claims: Any,
) -> str:
    """A token of SUBJECT that counts, but for what is given otherwise."""
    now = int(time.time())
    usual = {"sub": SUBJECT, "scope": scope, "aud": "lockstep", "iss": "https://issuer.example", "exp": now + 600}
    said = {name: value for name, value in (usual | claims).items() if name != without}
    return jwt.encode(said, secret, algorithm=algorithm, headers={} if kid is None else {"kid": kid})


def bearer(text: str) -> dict[str, str]:
    """The header."""
    return {"Authorization": f"Bearer {text}"}


def refused() -> dict[str, dict[str, str]]:
    """Headers that let nobody in, by what is wrong with them."""
    good = token()
    head, body, signature = good.split(".")
    return {
        "without": {},
        "wrong key": bearer(token(secret=OTHER_SECRET)),
        "wrong signature": bearer(f"{head}.{body}.{signature[:-4]}AAAA"),
        "unsigned": bearer(jwt.encode({"sub": SUBJECT, "aud": "lockstep"}, None, algorithm="none") + "AAAA"),
        "another algorithm": bearer(token(algorithm="HS512", secret=SECRET * 2)),
        "unknown kid": bearer(token(kid="old")),
        "expired": bearer(token(exp=int(time.time()) - 5)),
        "without end": bearer(token(without="exp")),
        "not yet": bearer(token(nbf=int(time.time()) + 600)),
        "foreign audience": bearer(token(aud="another")),
        "foreign issuer": bearer(token(iss="https://another.example")),
        "without subject": bearer(token(without="sub")),
        "empty subject": bearer(token(sub="")),
        "scopes as a list": bearer(token(["read:*"])),
        "no token": {"Authorization": "Bearer eyJ"},
        "another scheme": {"Authorization": "Basic bG9ja3N0ZXA6bG9ja3N0ZXA="},
        "too long": bearer(token(more="x" * 9_000)),
    }
