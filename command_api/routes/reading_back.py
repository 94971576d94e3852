"""What a caller asks about reading its write back: the token of before, and to be answered when the write can be read.

Consistency-Token: what the caller did or read before; the reply's token covers it too. Several are all honoured.
Prefer: wait=<s>   answer when every read model that is made of what the command wrote covers it, or after that time
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from command_api.errors import BadRequestError
from command_api.process.consistency import HEADER, ConsistencyToken, InvalidConsistencyTokenError, merged
from command_api.process.preference import InvalidWaitError, wait_of


@dataclass(frozen=True, kw_only=True)
class ReadingBack:
    """earlier: the token that was sent along. wait_s: how long to wait for the write's coverage, None for not at all."""

    earlier: ConsistencyToken | None = None
    wait_s: float | None = None


def reading_back(request: Request) -> ReadingBack:
    """What a request's headers ask for; raises BadRequestError."""
    lines = request.headers.getlist(HEADER)
    try:
        earlier = merged(map(ConsistencyToken.parse_list, lines)) if lines else None
    except InvalidConsistencyTokenError as error:
        raise BadRequestError(
            f"the Consistency-Token header {error}",
            hint="send the token of an earlier reply unchanged, or leave it out",
        ) from error
    return ReadingBack(earlier=earlier, wait_s=_wait(request.headers.getlist("Prefer")))


def _wait(lines: list[str]) -> float | None:
    try:
        return wait_of(lines)
    except InvalidWaitError as error:
        raise BadRequestError(str(error), hint="write Prefer: wait=2, in seconds") from error
