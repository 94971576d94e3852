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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

import httpx
from cassandra.cluster import Session
from cassandra.util import Date

from command_api.lsn import Lsn
from deploy.local.demo_load import check, headers
from deploy.local.demo_plan import Request, move, name, new_id, place, rename
from deploy.local.demo_servers import TUPLES, DemoError, Servers
from projections.cassandra_table import cassandra_table
from projections.orders import ORDER_BY_ID, ORDERS_BY_STATUS, ORDERS_BY_USER
from projections.read_model import ReadModel
from read_api.instants import MICROS_PER_DAY, parse_timestamptz

_DEADLINE_S = 30.0
_MODELS = (ORDERS_BY_USER, ORDER_BY_ID, ORDERS_BY_STATUS)


@dataclass(kw_only=True)
class Watched:
    """What was seen. Seconds: `readable` by read model from the reply on, `requests` of the commands themselves,
    `token_reads` from the reply to the read API's. stale: token reads that did not show their write."""

    readable: dict[str, list[float]] = field(default_factory=lambda: {model.name: [] for model in _MODELS})
    requests: list[float] = field(default_factory=list)
    token_reads: list[float] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The order as it must be shown after a command; created_at in microseconds and as the API prints it."""

    order_id: UUID
    user_id: UUID
    status: str
    user_name: str
    created_at: int
    created_text: str

    def key(self, model: ReadModel) -> tuple[Any, ...]:
        """Its key in a read model."""
        values = vars(self) | {"day": Date(self.created_at // MICROS_PER_DAY)}
        return tuple(values[column] for column in model.key)


class Watcher(threading.Thread):
    """Sends `journeys` of watched commands, `per_second` commands at most; `result` gives what it saw or raises."""

    def __init__(
        self,
        servers: Servers,
        user: UUID,
        products: tuple[UUID, ...],
        *,
        seed: int,
        journeys: int,
        per_second: float,
        told: Callable[[str], None],
    ) -> None:
        super().__init__(name="watcher", daemon=True)
        self._servers, self._user, self._products = servers, user, products
        self._random = Random(seed)  # noqa: S311 - repeatable on purpose
        self._journeys = journeys
        self._interval = 1 / per_second
        self._told = told
        self._abandoned = threading.Event()
        self._error: BaseException | None = None
        self._watched = Watched()
        self._last: Shown | None = None
        self._called: str | None = None
        keyspace = servers.settings.cassandra.keyspace
        self._rows = {model.name: _RowReader(servers.cassandra, keyspace, model) for model in _MODELS}

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
            with httpx.Client(timeout=30, trust_env=False) as client:
                commands = (command for _ in range(self._journeys) for command in self._journey())
                for number, (request, changes) in enumerate(commands):
                    began = time.monotonic()
                    self._watch(client, request, changes, by_token=number % 3 == 2)
                    if self._abandoned.wait(max(0.0, began + self._interval - time.monotonic())):
                        return
        except BaseException as error:
            self._error = error

    def _journey(self) -> Iterator[tuple[Request, dict[str, Any]]]:
        """An order placed, its user renamed, the order on its way: each request with what it changes."""
        order, called = new_id(self._random), name(self._random)
        yield place(order, self._user, self._products, self._random), {"order_id": order}
        yield rename(self._user, called), {"user_name": called}
        for status in ("paid", "shipped", "delivered"):
            yield move(order, status), {"status": status}

    def _watch(self, client: httpx.Client, request: Request, changes: dict[str, Any], *, by_token: bool) -> None:
        sent = time.perf_counter()
        reply = client.request(
            request.method, self._servers.command_api + request.path, json=request.body, headers=headers(request)
        )
        replied = time.perf_counter()
        check(request, reply)
        shown = self._expected(reply.json(), changes)
        if by_token:
            self._read_with_token(client, request, Lsn.parse(reply.headers["Consistency-Token"]), shown, replied)
        else:
            self._watched.requests.append(replied - sent)
            for model, seconds in self._poll(shown, replied).items():
                self._watched.readable[model].append(seconds)

    def _expected(self, reply: dict[str, Any], changes: dict[str, Any]) -> Shown:
        if "order_id" in changes:
            micros = parse_timestamptz(reply["created_at"])
            self._last = Shown(
                order_id=changes["order_id"], user_id=self._user, status="placed",
                user_name=self._called or "", created_at=micros, created_text=reply["created_at"],
            )  # fmt: skip
        else:
            assert self._last is not None, "a journey begins with its order"
            self._last = Shown(**vars(self._last) | changes)
            self._called = changes.get("user_name", self._called)
        return self._last

    def _shows(self, row: dict[str, Any] | None, shown: Shown) -> bool:
        named = shown.user_name in ("", row["user_name"]) if row else False
        return row is not None and named and row["status"] == shown.status

    def _poll(self, shown: Shown, since: float) -> dict[str, float]:
        """Read model to seconds since `since` until it showed the order so."""
        found: dict[str, float] = {}
        while len(found) < len(_MODELS):
            asked = {m.name: self._rows[m.name].ask(shown.key(m)) for m in _MODELS if m.name not in found}
            for model, future in asked.items():
                if self._shows(self._rows[model].answer(future), shown):
                    found[model] = time.perf_counter() - since
            if time.perf_counter() - since > _DEADLINE_S:
                missing = ", ".join(m.name for m in _MODELS if m.name not in found)
                raise DemoError(
                    f"order {shown.order_id} is not {shown.status} in {missing} after {_DEADLINE_S:.0f} s",
                    hint="look at the logs of relay and projector",
                )
        return found

    def _read_with_token(
        self, client: httpx.Client, request: Request, token: Lsn, shown: Shown, replied: float
    ) -> None:
        reply = client.get(
            f"{self._servers.read_api}/read/{ORDERS_BY_USER.name}/{shown.user_id}",
            params={"created_at": shown.created_text, "order_id": str(shown.order_id)},
            headers={"Consistency-Token": str(token)},
        )
        seconds = time.perf_counter() - replied
        if reply.status_code != 200:
            raise DemoError(
                f"the read API answered {reply.status_code} to token {token}: {reply.text[:300]}",
                hint="503 means that the read model did not cover it in time: look at the projector's log",
            )
        rows = reply.json()["rows"]
        if not self._shows(rows[0] if rows else None, shown):
            self._watched.stale.append(f"{request.method} {request.path} with token {token}: {rows}")
        self._watched.token_reads.append(seconds)
        done = request.what.removeprefix("orders ")
        self._told(
            f"order {str(shown.order_id)[:8]}… {'of a user renamed to ' + shown.user_name if done == 'renames' else done}:"
            f" token {token}, read back {seconds * 1e3:.1f} ms after the reply, covered {reply.json()['covered_lsn']}"
        )


class _RowReader:
    """One row of a read model by its whole key."""

    def __init__(self, session: Session, keyspace: str, model: ReadModel) -> None:
        self._session = session
        table = cassandra_table(model, keyspace)
        self._columns = ("status", "user_name")
        where = " AND ".join(f'"{column}" = ?' for column in table.key)
        self._statement = session.prepare(f"SELECT {', '.join(self._columns)} FROM {table.qualified} WHERE {where}")

    def ask(self, key: tuple[Any, ...]) -> Any:
        """Send the read."""
        return self._session.execute_async(self._statement, key, execution_profile=TUPLES)

    def answer(self, future: Any) -> dict[str, Any] | None:
        """The row, or None."""
        row = future.result().one()
        return None if row is None else dict(zip(self._columns, row, strict=True))
