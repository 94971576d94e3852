"""Writers that read what they wrote: each write's token goes with the next read, and the reply must show the write.

A writer owns its orders, so the reply has exactly one right answer: the version just written, in the partition where
its status puts it, and no trace of it in the partition that it left. A 503 is an honest reply; it is counted apart.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg

DAY = "2024-03-05"  # a partition of their own: the reply holds all of it
AT = f"{DAY} 12:00:00+00"
STATUSES = ("placed", "paid")


@dataclass
class Tally:
    """What was seen. verified: replies with a token that were right. unavailable: 503. stale: what was wrong with others."""

    writes: int = 0
    verified: Counter[str] = field(default_factory=Counter)
    unavailable: Counter[str] = field(default_factory=Counter)
    stale: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


Read = Callable[[str, str], list[dict[str, Any]] | None]
"""(path below /read, token) to rows; None when the reader can't say now."""


def over_http(client: httpx.Client) -> Read:
    """Reads through the read API that the client is for; raises on any reply but 200 and 503."""

    def read(path: str, token: str) -> list[dict[str, Any]] | None:
        try:
            reply = client.get(f"/read/{path}", headers={"Consistency-Token": token, "Prefer": "wait=1"})
        except httpx.TransportError:
            return None
        if reply.status_code == 503:
            return None
        assert reply.status_code == 200, reply.text
        rows: list[dict[str, Any]] = reply.json()["rows"]
        return rows

    return read


class Writer(threading.Thread):
    """Writes its orders through SQL and reads them back with the token until told to stop.

    After a lost connection it goes on with another. pause_s: at most, between two writes. An error is in `error`.
    """

    def __init__(
        self, conninfo: str, read: Read, rng: Random, stop: threading.Event, orders: int = 4, pause_s: float = 0.0
    ) -> None:
        super().__init__(name="token-writer", daemon=True)
        self.tally = Tally()
        self.error: BaseException | None = None
        self._conninfo = conninfo
        self._read = read
        self._rng = rng
        self._stopping = stop
        self._user = UUID(int=rng.getrandbits(128))
        self._orders = {UUID(int=rng.getrandbits(128)): 0 for _ in range(orders)}
        self._pause_s = pause_s

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    with psycopg.connect(self._conninfo, autocommit=True, connect_timeout=5) as connection:
                        self._work(connection)
                except psycopg.OperationalError:
                    self._stopping.wait(0.05)  # Postgres is restarting; which version it has is asked again
        except BaseException as error:
            self.error = error

    def _work(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(
            "insert into users (user_id, name) values (%s, 'Token') on conflict do nothing", (self._user,)
        )
        for order in self._orders:
            found = connection.execute("select version from orders where order_id = %s", (order,)).fetchone()
            self._orders[order] = found[0] if found else 0
        while not self._stopping.wait(self._rng.random() * self._pause_s):
            order = self._rng.choice(list(self._orders))
            version = self._orders[order] + 1
            connection.execute(
                "insert into orders (order_id, user_id, status, region, created_at, version) values (%s, %s, %s, %s, %s, %s)"
                " on conflict (order_id) do update set status = excluded.status, region = excluded.region,"
                " version = excluded.version",
                (order, self._user, STATUSES[version % 2], f"v{version}", AT, version),
            )
            self._orders[order] = version
            self.tally.writes += 1
            row = connection.execute("select pg_current_wal_flush_lsn()::text").fetchone()
            assert row is not None
            self._check(order, version, row[0])

    def _check(self, order: UUID, version: int, token: str) -> None:
        here, gone = STATUSES[version % 2], STATUSES[1 - version % 2]
        model = self._rng.choice(("order_by_id", "orders_by_user", "orders_by_status", "left"))
        path, expected = {
            "order_by_id": (f"order_by_id/{order}", [f"v{version}"]),
            "orders_by_user": (f"orders_by_user/{self._user}", [f"v{version}"]),
            "orders_by_status": (f"orders_by_status/{here}/{DAY}?limit=1000", [f"v{version}"]),
            "left": (f"orders_by_status/{gone}/{DAY}?limit=1000", []),
        }[model]
        started = time.monotonic()
        rows = self._read(path, token)
        if rows is None:
            self.tally.unavailable[model] += 1
            self._stopping.wait(0.1)  # a server that is away is not to be flooded
            return
        self.tally.slowest_s = max(self.tally.slowest_s, time.monotonic() - started)
        shown = [row["region"] for row in rows if row["order_id"] == str(order)]
        if shown == expected:
            self.tally.verified[model] += 1
        else:
            self.tally.stale.append(f"{path} with token {token}: {shown}, expected {expected}")


class Commander(threading.Thread):
    """Places orders and moves them through the command API, and reads them back with the replies' tokens.

    They are a region's own, so that its sales of the month have exactly one right count after each command.
    """

    def __init__(self, client: httpx.Client, read: Read, rng: Random, stop: threading.Event) -> None:
        super().__init__(name="commander", daemon=True)
        self.tally = Tally()
        self.error: BaseException | None = None
        self._client = client
        self._read = read
        self._rng = rng
        self._stopping = stop
        self._region = f"region {uuid4()}"
        self._sold: dict[str, str] = {}  # order to month

    def run(self) -> None:
        try:
            user = self._send("POST", "/users", {"name": "Ada"})
            product = self._send("POST", "/products", {"name": "Lamp", "price": "12.50"})
            while user and product and not self._stopping.is_set():
                items = [{"product_id": product["product_id"], "quantity": 1}]
                order = {"user_id": user["user_id"], "region": self._region, "items": items}
                placed = self._send("POST", "/orders", order)
                if not placed:
                    return
                month = self._sold[placed["order_id"]] = placed["created_at"][:8] + "01"
                self._check(placed["order_id"], "placed", placed["consistency_token"])
                self._check_sales(month, placed["consistency_token"])
                if self._rng.random() < 0.2:
                    cancelled = self._send("POST", f"/orders/{placed['order_id']}/cancel", None)
                    if cancelled:
                        del self._sold[placed["order_id"]]
                        self._check_sales(month, cancelled["consistency_token"])
                    continue
                for status in ("paid", "shipped", "delivered"):
                    moved = self._send("PUT", f"/orders/{placed['order_id']}/status", {"status": status})
                    if not moved or self._rng.random() < 0.2:
                        break
                    self._check(placed["order_id"], status, moved["consistency_token"])
                if self._rng.random() < 0.3:
                    deleted = self._send("DELETE", f"/orders/{placed['order_id']}", None)
                    if deleted:
                        del self._sold[placed["order_id"]]
                        self._check_sales(month, deleted["consistency_token"])
                        self._check(placed["order_id"], None, deleted["consistency_token"])
        except BaseException as error:
            self.error = error

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
        """One command, repeated with its idempotency key until it is answered; None when told to stop."""
        headers = {"Idempotency-Key": str(uuid4())}
        while not self._stopping.is_set():
            try:
                reply = self._client.request(method, path, json=body, headers=headers)
            except httpx.TransportError:
                continue
            if reply.status_code == 503:
                self._stopping.wait(0.05)
                continue
            assert reply.status_code in (200, 201), f"{method} {path}: {reply.status_code} {reply.text}"
            self.tally.writes += 1
            made: dict[str, Any] = reply.json()
            return made
        return None

    def _check(self, order: str, status: str | None, token: str) -> None:
        rows = self._read(f"order_by_id/{order}", token)
        if rows is None:
            self.tally.unavailable["command"] += 1
            self._stopping.wait(0.1)
            return
        shown = [row["status"] for row in rows]
        if shown == ([] if status is None else [status]):
            self.tally.verified["command"] += 1
        else:
            self.tally.stale.append(f"order {order} with token {token}: {shown}, expected {status}")

    def _check_sales(self, month: str, token: str) -> None:
        rows = self._read(f"daily_sales_by_region/{self._region}/{month}", token)
        if rows is None:
            self.tally.unavailable["sales"] += 1
            self._stopping.wait(0.1)
            return
        shown, sold = sum(row["orders"] for row in rows), list(self._sold.values()).count(month)
        if shown == sold:
            self.tally.verified["sales"] += 1
        else:
            self.tally.stale.append(f"sales of {self._region} with token {token}: {shown} orders, expected {sold}")
