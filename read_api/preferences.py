"""The headers that a read takes: ``Consistency-Token`` and ``Prefer: wait=<seconds>``. Pure.

Several tokens, in one line or in several, are all to be covered.
Of Prefer (RFC 7240) only ``wait`` is known, decimals allowed; other preferences are ignored, as the RFC asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from command_api.process.consistency import ConsistencyToken, merged
from read_api.problem import InvalidRequestError
from read_api.request import parse_token

_WAIT = re.compile(r"wait\s*=\s*(?P<quote>\"?)(?P<seconds>\d{1,6}(\.\d{1,6})?)(?P=quote)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """token: what is to be covered. wait: the most seconds that the client would wait for it."""

    token: ConsistencyToken | None = None
    wait: float | None = None


_NONE = Preferences()


def parse_preferences(headers: Iterable[tuple[bytes, bytes]]) -> Preferences:
    """What ASGI's headers (names in lower case) ask for; raises InvalidTokenError, InvalidRequestError."""
    token: ConsistencyToken | None = None
    wait: float | None = None
    for name, value in headers:
        if name == b"consistency-token":
            line = parse_token(value.decode("latin-1"))
            token = line if token is None else merged((token, line))
        elif name == b"prefer":
            for preference in value.decode("latin-1").split(","):
                wait = _wait(preference.split(";")[0].strip(), wait)
    return _NONE if token is None and wait is None else Preferences(token=token, wait=wait)


def _wait(preference: str, before: float | None) -> float | None:
    if not preference.lower().startswith("wait"):
        return before
    match = _WAIT.fullmatch(preference.lower())
    if match is None:
        raise InvalidRequestError(
            f"the preference {preference[:40]!r} can't be read", hint="write Prefer: wait=0.5", field="Prefer"
        )
    # The first one counts, as for any preference given twice.
    return float(match["seconds"]) if before is None else before
