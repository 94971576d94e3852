"""Watches commands become readable, one after the other while the load goes on.

Two kinds of watching take turns:

- *polled*: the command's reply has arrived, so it is committed; from that moment on the row is asked for in Cassandra
  again and again, in each read model, until it shows the change. The request's own duration is kept beside it: the
  commit lies between the request and its reply.
- *token*: the reply's consistency token goes to the read API with one read, which must show the change. A read that
  does not is a broken promise and is counted in `Watched.stale`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
from cassandra.cluster import Session

from deploy.local.demo_load import check, headers
from deploy.local.demo_plan import Plan
from deploy.local.demo_request import Request
from deploy.local.demo_rounds import WATCHED, Rounds
from deploy.local.demo_servers import TUPLES, DemoError, Servers
from deploy.local.demo_sights import Sight, Step
from projections.cassandra_table import cassandra_table
from projections.read_model import ReadModel

_DEADLINE_S = 30.0


@dataclass(kw_only=True)
class Watched:
    """What was seen. Seconds: `readable` by read model from the reply on, `requests` of the commands themselves,
    `token_reads` from the reply to the read API's. stale: token reads that did not show their write."""

    readable: dict[str, list[float]] = field(default_factory=lambda: {model.name: [] for model in WATCHED})
    requests: list[float] = field(default_factory=list)
    token_reads: list[float] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)


class Watcher(threading.Thread):
    """Sends `rounds` of watched commands, `per_second` commands at most; `result` gives what it saw or raises."""

    def __init__(
        self,
        servers: Servers,
        plan: Plan,
        *,
        seed: int,
        rounds: int,
        per_second: float,
        told: Callable[[str], None],
    ) -> None:
        super().__init__(name="watcher", daemon=True)
        self._servers = servers
        random = Random(seed)  # noqa: S311 - repeatable on purpose
        self._steps = Rounds(user=plan.probed, products=plan.products, drivers=plan.drivers, random=random).steps(
            rounds
        )
        self._interval = 1 / per_second
        self._told = told
        self._abandoned = threading.Event()
        self._error: BaseException | None = None
        self._watched = Watched()
        keyspace = servers.settings.cassandra.keyspace
        self._rows = {model.name: _RowReader(servers.cassandra, keyspace, model) for model in WATCHED}

    def abandon(self) -> None:
        """Stop after the command in hand."""
        self._abandoned.set()

    def result(self) -> Watched:
        """What was seen once the last command was; raises what went wrong."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._watched

    def run(self) -> None:
        """The thread."""
        try:
            with httpx.Client(timeout=30, trust_env=False, headers=self._servers.authorization) as client:
                for number, step in enumerate(self._steps):
                    began = time.monotonic()
                    self._watch(client, step, by_token=number if number % 3 == 2 else None)
                    if self._abandoned.wait(max(0.0, began + self._interval - time.monotonic())):
                        return
        except BaseException as error:
            self._error = error

    def _watch(self, client: httpx.Client, step: Step, *, by_token: int | None) -> None:
        request = step.request
        sent = time.perf_counter()
        reply = client.request(
            request.method, self._servers.command_api + request.path, json=request.body, headers=headers(request)
        )
        replied = time.perf_counter()
        check(request, reply)
        sights = step.sights(reply.json())
        if by_token is not None:
            token = reply.headers["Consistency-Token"]
            self._read_with_token(client, request, token, sights[by_token // 3 % len(sights)], replied)
        else:
            self._watched.requests.append(replied - sent)
            for model, seconds in self._poll(request, sights, replied).items():
                self._watched.readable[model].append(seconds)

    def _poll(self, request: Request, sights: tuple[Sight, ...], since: float) -> dict[str, float]:
        """Read model to seconds since `since` until it showed the change."""
        found: dict[str, float] = {}
        while len(found) < len(sights):
            missing = [sight for sight in sights if sight.model.name not in found]
            asked = [(sight, self._rows[sight.model.name].ask(sight.key)) for sight in missing]
            for sight, future in asked:
                if sight.is_seen(self._rows[sight.model.name].answer(future)):
                    found[sight.model.name] = time.perf_counter() - since
            if time.perf_counter() - since > _DEADLINE_S:
                names = ", ".join(sight.model.name for sight in missing)
                raise DemoError(
                    f"{request.method} {request.path} is not shown by {names} after {_DEADLINE_S:.0f} s",
                    hint="look at the logs of relay and projector",
                )
        return found

    def _read_with_token(
        self, client: httpx.Client, request: Request, token: str, sight: Sight, replied: float
    ) -> None:
        reply = client.get(
            f"{self._servers.read_api}/read/{sight.path}",
            params=dict(sight.parameters),
            headers={"Consistency-Token": token},
        )
        seconds = time.perf_counter() - replied
        if reply.status_code != 200:
            raise DemoError(
                f"the read API answered {reply.status_code} to token {token}: {reply.text[:300]}",
                hint="503 means that the read model did not cover it in time: look at the projector's log",
            )
        rows = reply.json()["rows"]
        if not sight.is_seen(rows[0] if rows else None):
            self._watched.stale.append(f"{request.method} {request.path} with token {token}: {rows}")
        self._watched.token_reads.append(seconds)
        self._told(
            f"{request.what}: token {token}, {sight.model.name} read back {seconds * 1e3:.1f} ms after the reply,"
            f" covered {reply.json()['covered_lsn']}"
        )


class _RowReader:
    """One row of a read model by its whole key."""

    def __init__(self, session: Session, keyspace: str, model: ReadModel) -> None:
        self._session = session
        table = cassandra_table(model, keyspace)
        self._columns = tuple(table.columns)
        where = " AND ".join(f'"{column}" = ?' for column in table.key)
        names = ", ".join(f'"{column}"' for column in self._columns)
        self._statement = session.prepare(f"SELECT {names} FROM {table.qualified} WHERE {where}")

    def ask(self, key: tuple[Any, ...]) -> Any:
        """Send the read."""
        return self._session.execute_async(self._statement, key, execution_profile=TUPLES)

    def answer(self, future: Any) -> dict[str, Any] | None:
        """The row, or None."""
        row = future.result().one()
        return None if row is None else dict(zip(self._columns, row, strict=True))
