"""The keys of `settings.auth`, and tokens held against them.

A key has one algorithm, its own: what a token's header says decides nothing but which key is tried, so neither ``none``
nor a public key taken for a secret gets anybody in. PyJWT compares signatures in constant time. A token must carry
``exp``, ``sub`` and ``aud``; ``iss`` when the settings name one. Several keys at once are a rotation: add the new one
everywhere, sign with it, take the old one away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from command_api.process.access.errors import KeysError, UnauthenticatedError
from command_api.process.settings import Auth

LEAST_SECRET_BYTES = 32  # HS256: below its digest's size the secret is what is easiest to guess
_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
_FAULTS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "has expired"),
    (jwt.ImmatureSignatureError, "is not valid yet"),
    (jwt.InvalidAudienceError, "is for another audience"),
    (jwt.InvalidIssuerError, "is of another issuer"),
    (jwt.InvalidSignatureError, "is not signed with a key of this service"),
)


@dataclass(frozen=True, kw_only=True)
class Key:
    """algorithm: the only one that counts with this key. material: what PyJWT verifies with; secret for HS256."""

    algorithm: str
    material: Any

    def __repr__(self) -> str:
        return f"Key({self.algorithm})"


class Keys:
    """The keys by id, and what else a token must say."""

    def __init__(self, keys: Mapping[str, Key], *, issuer: str | None, audience: str, leeway_s: float) -> None:
        self._keys = dict(keys)
        self._issuer = issuer
        self._audience = audience
        self.leeway_s = leeway_s

    def claims(self, token: str) -> dict[str, Any]:
        """What a token says, once it counts; raises UnauthenticatedError."""
        try:
            key = self._key(jwt.get_unverified_header(token).get("kid"))
            claims: dict[str, Any] = jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self.leeway_s,
                options={"require": ["exp", "sub", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
            # Not the library's words: they may repeat what was sent.
            fault = next((text for kind, text in _FAULTS if isinstance(error, kind)), "can't be accepted")
            raise UnauthenticatedError(fault) from None
        if not claims["sub"]:
            raise UnauthenticatedError("has an empty subject")
        return claims

    def _key(self, kid: Any) -> Key:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise UnauthenticatedError("names no key of this service")
        return key


def keys_of(auth: Auth) -> Keys | None:
    """The keys of the settings, None when no setting names any; raises KeysError, also for a file without one that counts."""
    found: dict[str, Key] = {}
    for kid, secret in auth.hs256_secrets.items():
        text = secret.get_secret_value()
        if len(text.encode()) < LEAST_SECRET_BYTES:
            raise KeysError(
                f"auth.hs256_secrets: the secret {kid!r} has less than {LEAST_SECRET_BYTES} bytes: make one with"
                " `openssl rand -base64 48`"
            )
        found[kid] = Key(algorithm="HS256", material=text)
    if auth.jwks_file is not None:
        public = list(_public(auth.jwks_file))
        if not public:
            raise KeysError(
                f"auth.jwks_file {auth.jwks_file} holds no key to check signatures with: add one whose use is sig, or leave the"
                " setting out"
            )
        for kid, key in public:
            if kid in found:
                raise KeysError(f"auth.jwks_file: there are two keys with the id {kid!r}: give each its own kid")
            found[kid] = key
    if not found:
        return None
    return Keys(found, issuer=auth.issuer, audience=auth.audience, leeway_s=auth.leeway_s)


def _public(path: Path) -> Iterator[tuple[str, Key]]:
    where = f"auth.jwks_file {path}"
    try:
        members = json.loads(path.read_text(encoding="utf-8"))["keys"]
        if not members:
            raise KeysError(f"{where} holds no key: write a JSON Web Key Set with a key at least")
        for member in members:
            if member.get("use", "sig") == "sig":
                yield _kid(where, member), _public_key(where, member)
    except OSError as error:
        raise KeysError(f"{where} can't be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KeysError(f"{where} is no JSON Web Key Set: write {{'keys': [...]}}") from error


def _kid(where: str, member: Mapping[str, Any]) -> str:
    kid = member.get("kid")
    if not isinstance(kid, str) or not kid:
        raise KeysError(f"{where}: a key has no kid: tokens name their key by it")
    return kid


def _public_key(where: str, member: Mapping[str, Any]) -> Key:
    named = f"{where}: the key {member['kid']!r}"
    if member.get("kty") == "oct" or "d" in member:
        raise KeysError(f"{named} is secret: only public keys belong here; a shared secret is auth.hs256_secrets")
    try:
        key = jwt.PyJWK.from_dict(dict(member))
    except jwt.PyJWTError as error:
        raise KeysError(f"{named} can't be used: {type(error).__name__}; give kty, alg and the public parts") from None
    if key.algorithm_name not in _ALGORITHMS:
        raise KeysError(f"{named} is for {key.algorithm_name}: use one of {', '.join(sorted(_ALGORITHMS))}")
    return Key(algorithm=key.algorithm_name, material=key.key)
