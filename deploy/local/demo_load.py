"""Sends a plan to the command API at a steady rate, and holds every reply to what the plan expects.

Promised: a journey's requests go out in order and each is sent once. A reply with another status stops the load.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

import httpx

from deploy.local.demo_plan import Plan
from deploy.local.demo_request import Journey, Request
from deploy.local.demo_servers import DemoError

_LANES = 8


class _Pace:
    """Gives each request its moment, so that the rate is the plan's and not the server's."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._next = time.monotonic()

    async def turn(self) -> None:
        now = time.monotonic()
        self._next = max(self._next + self._interval, now - 1)
        await asyncio.sleep(max(0.0, self._next - now))


def headers(request: Request) -> dict[str, str]:
    """What a request carries beside its body."""
    return {"Idempotency-Key": request.key} if request.key else {}


def check(request: Request, reply: httpx.Response) -> None:
    """Raises DemoError when the reply's status is not the expected one."""
    if reply.status_code != request.expected:
        raise DemoError(
            f"{request.method} {request.path} was answered {reply.status_code}, not {request.expected}: {reply.text[:300]}",
            hint="look at command-api's log",
        )


def run_load(
    url: str, plan: Plan, per_second: float, told: Callable[[Request], None], authorization: Mapping[str, str]
) -> Counter[str]:
    """Send everything, with these headers too; `told` hears of each request answered. Returns how often each `what` was done."""
    try:
        return asyncio.run(_run(url, plan, per_second, told, authorization))
    except* (DemoError, httpx.HTTPError) as several:
        first = several.exceptions[0]  # the lanes stop together: the first tells why
    raise first


async def _run(
    url: str, plan: Plan, per_second: float, told: Callable[[Request], None], authorization: Mapping[str, str]
) -> Counter[str]:
    counted: Counter[str] = Counter()
    pace = _Pace(per_second)
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, headers=authorization) as client:

        async def send(request: Request) -> None:
            await pace.turn()
            reply = await client.request(request.method, request.path, json=request.body, headers=headers(request))
            check(request, reply)
            counted[request.what] += 1
            told(request)

        for part in (plan.catalogue, plan.sign_ups, plan.journeys):
            await _side_by_side(part, send)
    return counted


async def _side_by_side(journeys: Sequence[Journey], send: Callable[[Request], Awaitable[None]]) -> None:
    waiting = iter(journeys)

    async def lane() -> None:
        for journey in waiting:  # one iterator for all lanes: each takes the next journey
            for request in journey:
                await send(request)

    async with asyncio.TaskGroup() as group:
        for _ in range(_LANES):
            group.create_task(lane())
