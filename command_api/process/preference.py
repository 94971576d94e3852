"""``Prefer: wait=<seconds>`` (RFC 7240), decimals allowed. Other preferences are ignored, as the RFC asks. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SECONDS = re.compile(r"(?P<quote>\"?)(?P<seconds>\d{1,6}(\.\d{1,6})?)(?P=quote)", re.ASCII)


class InvalidWaitError(ValueError):
    """The message quotes the preference."""


def wait_of(lines: Iterable[str]) -> float | None:
    """The seconds of the first ``wait`` in a request's Prefer headers, None without one; raises InvalidWaitError."""
    for preference in (part.split(";")[0].strip() for line in lines for part in line.split(",")):
        name, _, value = preference.partition("=")
        if name.strip().lower() == "wait":
            match = _SECONDS.fullmatch(value.strip())
            if match is None:
                raise InvalidWaitError(f"the preference {preference[:40]!r} can't be read")
            return float(match["seconds"])  # the first one counts, as for any preference given twice
    return None
