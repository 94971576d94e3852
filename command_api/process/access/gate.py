"""A request's head becomes a caller: the one door of both APIs.

A token is taken from the header ``Authorization: Bearer`` and from nowhere else; one in the query string is refused even
where it would not be needed, so that no client learns to put it there. Tokens that were verified are remembered by their
digest until they expire: a signature costs more than the rest of a small read.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from hashlib import sha256
from urllib.parse import unquote_to_bytes

from command_api.process.access.caller import ANYBODY, Caller
from command_api.process.access.errors import TokenInUrlError, UnauthenticatedError
from command_api.process.access.keys import Keys

PUBLIC = frozenset({"/healthz", "/readyz", "/openapi.json"})
"""Paths that need no token: probes, and the OpenAPI document. All others need one, known or not."""

_MOST_BYTES = 8_192
_REMEMBERED = 4_096
_FAR = 1 << 53  # seconds; beyond it an expiry is no float any more
_BEARER = re.compile(rb"bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+) *", re.IGNORECASE)
# RFC 6750's name and its like; and anything that looks like a signed token under whatever name.
_IN_URL = re.compile(
    rb"(?:^|[&;])(?:access_token|id_token|auth_token|authorization|bearer|jwt|api_?key)=|=eyJ[\w-]{5,}\.eyJ[\w-]{5,}\.",
    re.IGNORECASE,
)


class Gate:
    """keys: None lets everybody in. clock: seconds since 1970."""

    def __init__(self, keys: Keys | None, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()

    @property
    def open(self) -> bool:
        """Whether everybody may do everything."""
        return self._keys is None

    def admit(self, headers: Iterable[tuple[bytes, bytes]], query_string: bytes) -> Caller:
        """The caller of ASGI's headers (names in lower case); raises UnauthenticatedError, TokenInUrlError."""
        if query_string and _IN_URL.search(unquote_to_bytes(query_string)):
            raise TokenInUrlError(
                "the query string holds what looks like a token or a key",
                hint="send it as Authorization: Bearer, and hold this one for known to others",
            )
        if self._keys is None:
            return ANYBODY
        given = [value for name, value in headers if name == b"authorization"]
        if not given:
            raise UnauthenticatedError
        if len(given) > 1:
            raise UnauthenticatedError("is given twice")
        match = _BEARER.fullmatch(given[0]) if len(given[0]) <= _MOST_BYTES else None
        if match is None:
            raise UnauthenticatedError("is no signed token in the form Bearer xxx.yyy.zzz")
        return self._caller(self._keys, match[1])

    def _caller(self, keys: Keys, token: bytes) -> Caller:
        digest = sha256(token).digest()
        known = self._known.get(digest)
        if known is not None:
            caller, until = known
            if self._clock() < until:
                return caller
            del self._known[digest]
            raise UnauthenticatedError("has expired")
        claims = keys.claims(token.decode())
        scope = claims.get("scope", "")
        if not isinstance(scope, str):
            raise UnauthenticatedError("has a scope that is no text of names with spaces between")
        caller = Caller(subject=claims["sub"], scopes=frozenset(scope.split()))
        self._known[digest] = caller, min(int(claims["exp"]), _FAR) + keys.leeway_s
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return caller
