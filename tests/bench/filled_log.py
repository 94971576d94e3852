"""A log of orders with their users, made without Postgres: the envelope's records, produced ahead of a measurement."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from command_api.process.settings import Kafka
from projector.replica.values import timestamptz_micros

USERS = 20_000
TRANSACTION = 10
_FIRST_LSN = 1_000_000
_TS_US = 1_800_000_000_000_000


@dataclass
class OrderLog:
    """Records in log order: the users in one snapshot, then orders in transactions of ten. Seeded; sizes as asked."""

    seed: int = 7
    lsn: int = _FIRST_LSN
    orders: int = 0
    users: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._taken: list[dict[str, object]] = []
        self.users = [str(uuid.UUID(int=self._random.getrandbits(128), version=4)) for _ in range(USERS)]

    def snapshot(self) -> Iterator[bytes]:
        """The users, as the initial snapshot has them."""
        rows = [
            {"user_id": user, "name": f"user {index}", "avatar_url": None, "last_seen_at": None, "version": 1}
            for index, user in enumerate(self.users)
        ]
        yield from self._transaction("snapshot", "r", "users", rows)

    def take(self, count: int) -> Iterator[bytes]:
        """The next `count` orders (a multiple of ten), each of a random user."""
        self._taken.clear()
        for _ in range(count // TRANSACTION):
            rows = [self._order() for _ in range(TRANSACTION)]
            self._taken += rows
            yield from self._transaction(str(self.lsn), "c", "orders", rows)

    def last_rows(self) -> list[tuple[object, ...]]:
        """`orders_by_user`'s rows of the last `take`, in replica form and in the columns' order of its table."""
        names = {user: f"user {index}" for index, user in enumerate(self.users)}
        return [
            (
                o["user_id"],
                timestamptz_micros(str(o["created_at"])),
                o["order_id"],
                o["status"],
                o["region"],
                names[str(o["user_id"])],
            )
            for o in self._taken
        ]

    def _order(self) -> dict[str, object]:
        self.orders += 1
        micros = self.orders % 1_000_000
        return {
            "order_id": str(uuid.UUID(int=(self.orders << 80) | 7 << 76 | 2 << 62 | self._random.getrandbits(62))),
            "user_id": self._random.choice(self.users),
            "status": "placed",
            "region": "eu-west",
            "created_at": f"2026-11-21T10:{self.orders // 60_000_000 % 60:02}:{self.orders // 1_000_000 % 60:02}.{micros:06}Z",
            "version": 1,
        }

    def _transaction(self, xid: str, op: str, table: str, rows: list[dict[str, object]]) -> Iterator[bytes]:
        encode = msgspec.json.encode
        ident = f"{xid}:{self.lsn}"
        stamp = {"ts_ms": _TS_US // 1_000, "ts_us": _TS_US}
        yield encode({"status": "BEGIN", "id": ident, "event_count": None, "data_collections": None, **stamp})
        for order, row in enumerate(rows, 1):
            source = {"version": "1", "connector": "postgresql", "name": "app", **stamp, "snapshot": "false"}
            source |= {"db": "app", "schema": "public", "table": table, "txId": 7, "lsn": self.lsn}
            place = {"id": ident, "total_order": order, "data_collection_order": order}
            yield encode({"before": None, "after": row, "source": source, "op": op, **stamp, "transaction": place})
        if op != "r":  # a snapshot begins and ends at its consistent point
            self.lsn += 1_000
        counts = [{"data_collection": f"public.{table}", "event_count": len(rows)}]
        end = {
            "status": "END",
            "id": f"{xid}:{self.lsn}",
            "event_count": len(rows),
            "data_collections": counts,
            **stamp,
        }
        yield encode(end)


def make_topic(settings: Kafka) -> None:
    """A topic of one partition, without retention."""
    admin = AdminClient(settings.client_properties())
    topic = NewTopic(settings.topic, num_partitions=1, replication_factor=1, config={"retention.ms": "-1"})
    for future in admin.create_topics([topic]).values():
        future.result(30)


def drop_topic(settings: Kafka) -> None:
    """Remove it."""
    admin = AdminClient(settings.client_properties())
    beside = [name for name in admin.list_topics(timeout=30).topics if name == settings.announcements]
    for future in admin.delete_topics([settings.topic, *beside]).values():
        future.result(30)


def fill(settings: Kafka, values: Iterator[bytes]) -> int:
    """Produce values; returns how many."""
    producer = Producer(
        {
            **settings.client_properties(),
            "linger.ms": 20,
            "enable.idempotence": True,
            "queue.buffering.max.messages": 200_000,
        }
    )
    count = 0
    for value in values:
        while True:
            try:
                producer.produce(settings.topic, value, partition=0)
                break
            except BufferError:
                producer.poll(0.1)
        count += 1
    producer.flush(60)
    return count
