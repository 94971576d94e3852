"""Samples of the whole path, taken once a second while somebody looks at the page, and their recent history.

However many look, the workers and the relay are asked once a second, and nobody is asked when nobody looks. A rate is
that of the last RATE_SAMPLES samples, so that one late scrape doesn't make a spike.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx

from command_api.process.settings import ReadApi
from projections.read_model import ReadModel
from read_api.freshness import Position
from read_api.page import figures
from read_api.page.figures import Sample
from read_api.page.scrape import Endpoint, scrape
from read_api.problem import ProblemError

INTERVAL_S = 1.0
KEPT = 300
RATE_SAMPLES = 5
_IDLE_S = 120.0  # a browser asks for a tab in the background once a minute
_POSITIONS_S = 0.8
_HISTORY = ("changes_per_s", "rows_per_s", "amplification", "retained_bytes")


class Board:
    """positions: reads those of all read models; raises ProblemError."""

    def __init__(
        self, settings: ReadApi, models: Sequence[ReadModel], positions: Callable[[], Awaitable[Mapping[str, Position]]]
    ) -> None:
        self._staleness = {
            model.name: None if model.staleness is None else model.staleness.total_seconds() for model in models
        }
        self._positions = positions
        addresses = settings.worker_metrics
        self._workers = [
            Endpoint(
                name="worker" if len(addresses) < 2 else f"worker {place + 1}",
                setting="LOCKSTEP_READ_API__WORKER_METRICS",
                url=address,
            )
            for place, address in enumerate(addresses or (None,))
        ]
        self._relay = Endpoint(name="relay", setting="LOCKSTEP_READ_API__RELAY_METRICS", url=settings.relay_metrics)
        self._recent: deque[Sample] = deque(maxlen=RATE_SAMPLES)
        self._history: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._view: dict[str, Any] = {}
        self._taken = 0
        self._looked_at = float("-inf")
        self._first: asyncio.Event = asyncio.Event()
        self._sampler: asyncio.Task[None] | None = None

    async def view(self, after: int = 0) -> dict[str, Any]:
        """The newest figures, with the history of the samples whose number is above `after`."""
        self._looked_at = asyncio.get_running_loop().time()
        if self._sampler is None or self._sampler.done():
            self._first.clear()
            self._recent.clear()
            self._history.clear()  # a gap would be drawn as if it were none
            self._sampler = asyncio.create_task(self._run())
        await self._first.wait()
        fresh = [one for one in self._history if one["number"] > after]
        return self._view | {
            "history": {
                "first": self._history[0]["number"],
                "numbers": [one["number"] for one in fresh],
                "lag": {name: [one["lag"][name] for one in fresh] for name in self._staleness},
                **{figure: [one[figure] for one in fresh] for figure in _HISTORY},
            }
        }

    async def stop(self) -> None:
        """End the sampling."""
        if self._sampler is not None:
            self._sampler.cancel()
            await asyncio.gather(self._sampler, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        # No proxy of the environment: the addresses are the deployment's own.
        async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
            due = loop.time()
            while loop.time() - self._looked_at < _IDLE_S:
                self._take(await self._sample(client))
                due = max(due + INTERVAL_S, loop.time())
                await asyncio.sleep(due - loop.time())

    async def _sample(self, client: httpx.AsyncClient) -> Sample:
        positions, problem = await self._known()
        *workers, relay = await asyncio.gather(
            *(scrape(client, endpoint, figures.WANTED) for endpoint in (*self._workers, self._relay))
        )
        return Sample(
            at=time.time(),
            clock=time.monotonic(),
            positions=positions,
            problem=problem,
            workers=workers,
            relay=relay,
        )

    async def _known(self) -> tuple[Mapping[str, Position] | None, str | None]:
        try:
            async with asyncio.timeout(_POSITIONS_S):
                return await self._positions(), None
        except ProblemError as error:
            return None, error.detail
        except TimeoutError:
            return None, f"the positions could not be read within {_POSITIONS_S:g} s"

    def _take(self, now: Sample) -> None:
        before = self._recent[0] if self._recent else None
        self._recent.append(now)
        self._taken += 1
        path = figures.pipeline(now, before)
        models = [figures.model(name, staleness, now, before) for name, staleness in self._staleness.items()]
        self._history.append(
            {"number": self._taken, "lag": {one["name"]: one["lag_s"] for one in models}}
            | {figure: path[figure] for figure in _HISTORY}
        )
        self._view = {
            "at": now.at,
            "sample": self._taken,
            "interval_s": INTERVAL_S,
            "kept": KEPT,
            "sources": figures.sources(now),
            "pipeline": path,
            "models": models,
        }
        self._first.set()
