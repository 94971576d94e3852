"""A token for development and tests, signed with a shared secret of the settings; a deployment has an issuer of its own."""

from __future__ import annotations

import time

import jwt

from command_api.process.access.errors import KeysError
from command_api.process.access.keys import keys_of
from command_api.process.settings import Auth


def mint(auth: Auth, *, subject: str, scopes: str, seconds: float, kid: str | None = None) -> str:
    """A token of `subject` that expires in `seconds`; kid: the secret to sign with, by default the last. Raises KeysError."""
    keys_of(auth)
    chosen = kid if kid is not None else next(reversed(auth.hs256_secrets), "")
    secret = auth.hs256_secrets.get(chosen)
    if secret is None:
        raise KeysError(
            f"auth.hs256_secrets: there is no secret {chosen!r} to sign with: set LOCKSTEP_AUTH__HS256_SECRETS to"
            """ {"a-key-id": "<openssl rand -base64 48>"}"""
        )
    now = int(time.time())
    claims = {"sub": subject, "scope": scopes, "aud": auth.audience, "iat": now, "exp": now + int(seconds)}
    if auth.issuer is not None:
        claims["iss"] = auth.issuer
    return jwt.encode(claims, secret.get_secret_value(), algorithm="HS256", headers={"kid": chosen})
