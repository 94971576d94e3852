"""The headers that a read takes: ``Consistency-Token`` and ``Prefer: wait=<seconds>``. Pure.

Several tokens, in one line or in several, are all to be covered.
Of Prefer (RFC 7240) only ``wait`` is known, decimals allowed; other preferences are ignored, as the RFC asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from command_api.process.consistency import ConsistencyToken, merged
from command_api.process.preference import InvalidWaitError, wait_of
from read_api.problem import InvalidRequestError
from read_api.request import parse_token


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """token: what is to be covered. wait: the most seconds that the client would wait for it."""

    token: ConsistencyToken | None = None
    wait: float | None = None


_NONE = Preferences()


def parse_preferences(headers: Iterable[tuple[bytes, bytes]]) -> Preferences:
    """What ASGI's headers (names in lower case) ask for; raises InvalidTokenError, InvalidRequestError."""
    token: ConsistencyToken | None = None
    prefer: list[str] = []
    for name, value in headers:
        if name == b"consistency-token":
            line = parse_token(value.decode("latin-1"))
            token = line if token is None else merged((token, line))
        elif name == b"prefer":
            prefer.append(value.decode("latin-1"))
    wait = _wait(prefer) if prefer else None
    return _NONE if token is None and wait is None else Preferences(token=token, wait=wait)


def _wait(lines: list[str]) -> float | None:
    try:
        return wait_of(lines)
    except InvalidWaitError as error:
        raise InvalidRequestError(str(error), hint="write Prefer: wait=0.5", field="Prefer") from error
