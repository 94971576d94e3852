"""How fresh every read model is, and whether a token is covered: ``GET /freshness`` and ``GET /covered``.

``/freshness`` says of each read model how old it may be (declared), how old it is (lag), which position it covers, and
whether the declaration is broken. ``/covered`` waits, for a token, until every read model that is made of a table which the
token names covers it, or for a token of all tables every read model: as long as a read would wait, or with
``Prefer: wait=<seconds>`` that long, up to a minute.
It shows positions and no rows, so whoever is let in at all may ask. A read model that has never covered anything is behind
at once: its first fill takes longer than anybody waits, and one that nobody maintains would hold up every answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from command_api.lsn import Lsn
from command_api.process.consistency import ConsistencyToken
from projections.read_model import ReadModel
from projections.source_tables import source_tables
from read_api.freshness import NOTHING, Freshness, Position
from read_api.preferences import parse_preferences
from read_api.problem import InvalidTokenError, NotCoveredError

_NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a read model promises of its age.

    staleness_s: seconds, None for nothing. tables: what it is made of. budgeted: whether it has columns that may be late.
    """

    staleness_s: float | None
    tables: frozenset[str]
    budgeted: bool = False

    @classmethod
    def of(cls, model: ReadModel) -> Declared:
        """That of a declaration."""
        staleness = model.staleness.total_seconds() if model.staleness is not None else None
        return cls(staleness_s=staleness, tables=source_tables(model), budgeted=bool(model.budgets))

    def broken(self, lag_s: float | None) -> bool:
        """Whether rows of this lag are older than declared; None is the lag of what was never filled."""
        return self.staleness_s is not None and (lag_s is None or lag_s > self.staleness_s)


NOTHING_DECLARED = Declared(staleness_s=None, tables=frozenset())


def report(declared: Mapping[str, Declared], positions: Mapping[str, Position]) -> dict[str, dict[str, Any]]:
    """The freshness of each read model, as JSON takes it."""
    found = {}
    for name, of_model in declared.items():
        position = positions.get(name, NOTHING)
        lag = position.lag_seconds()
        found[name] = {
            "declared_staleness_seconds": of_model.staleness_s,
            "lag_seconds": lag,
            "covered_lsn": str(position.lsn),
            "stale": of_model.broken(lag),
            "dead_letters": position.dead_letters,
        }
    return found


async def behind(
    token: ConsistencyToken, bound: float, declared: Mapping[str, Declared], freshness: Freshness
) -> list[str]:
    """Names of the read models that did not cover their part of a token within `bound` seconds; raises ProblemError."""
    positions = await freshness.positions()
    wanted = {name: token.position(of.tables) for name, of in declared.items() if _concerns(token, of)}

    async def late(name: str, lsn: Lsn) -> bool:
        if name not in positions:
            return True
        try:
            await freshness.at_least(name, lsn, bound)
        except NotCoveredError:
            return True
        return False

    answers = await asyncio.gather(*(late(name, lsn) for name, lsn in wanted.items()))
    return [name for name, answer in zip(wanted, answers, strict=True) if answer]


def _concerns(token: ConsistencyToken, of: Declared) -> bool:
    return not token.tables or not of.tables.isdisjoint(token.tables)


def coverage_router(declared: Mapping[str, Declared], freshness: Freshness, usual_s: float, most_s: float) -> APIRouter:
    """The two routes. usual_s: the wait of who prefers none. most_s: the longest one."""
    router = APIRouter()

    @router.get("/freshness")
    async def of_every_read_model() -> Response:
        """How old each read model may be, and is."""
        return JSONResponse({"read_models": report(declared, await freshness.positions())}, headers=_NO_STORE)

    @router.get("/covered")
    async def of_a_token(request: Request) -> Response:
        """Whether all that a token concerns is covered, waiting for it."""
        preferences = parse_preferences(request.scope["headers"])
        if preferences.token is None:
            raise InvalidTokenError(
                "there is no consistency token", hint="send the header Consistency-Token", field="Consistency-Token"
            )
        bound = usual_s if preferences.wait is None else min(most_s, preferences.wait)
        late = await behind(preferences.token, bound, declared, freshness)
        return JSONResponse({"covered": not late, "behind": late}, headers=_NO_STORE)

    return router
