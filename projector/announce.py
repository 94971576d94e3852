"""Tells readers which partitions have just been written, through a topic beside the log: a hint, never a promise.

A record goes out after the rows' acknowledgement and the position's, so that whoever reads on it finds them. It is given to
librdkafka and forgotten: a broker that is away costs readers the quickness and the worker nothing. Readers that watch a
partition look by themselves now and then; nothing is lost with a record. More partitions than MOST_MARKS of a table in one
announcement are "any of them".
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from command_api.process.kafka_admin import settled
from command_api.process.kafka_login import KafkaRefusedError, opened
from command_api.process.logging import get_logger
from command_api.process.settings import Kafka
from projections.partition_marks import Announcement, marks, packed

MOST_MARKS = 20_000
_RETENTION_MS = 600_000  # nobody reads what is older than a moment
_MAKE_S = 5.0

_log = get_logger(__name__)


class Announcer:
    """tables: those whose writes are announced, all others are nobody's to watch."""

    def __init__(self, settings: Kafka, tables: Collection[str]) -> None:
        self._tables = frozenset(tables)
        self._topic = settings.announcements
        self._written: dict[str, set[int]] = {}
        self._producer: Producer | None = None
        properties = {
            **settings.client_properties(),
            "client.id": "lockstep-announcer",
            "linger.ms": 0,
            "acks": 1,
            "message.timeout.ms": 5_000,
            "queue.buffering.max.messages": 1_000,
            "allow.auto.create.topics": False,
            "logger": logging.getLogger("librdkafka"),
        }
        try:
            self._make(settings)
            self._producer = opened(Producer, properties)
        except (KafkaException, KafkaRefusedError) as error:
            _log.warning("writes are not announced: readers that watch learn of them later", error=str(error))

    def saw(self, table: str, entries: Sequence[bytes], head: int, width: int) -> None:
        """Rows of a table, in a BATCH's form, are being written."""
        if table in self._tables:
            known = self._written.setdefault(table, set())
            if len(known) <= MOST_MARKS:
                known |= marks(entries, head, width)

    def tell(self, lsn: int) -> None:
        """All that was seen is acknowledged, and the position that covers it up to `lsn` published."""
        written, self._written = self._written, {}
        if not written or self._producer is None:
            return
        found = {name: packed(known) if len(known) <= MOST_MARKS else None for name, known in written.items()}
        with contextlib.suppress(BufferError, KafkaException):
            self._producer.produce(self._topic, msgspec.msgpack.encode(Announcement(lsn=lsn, marks=found)), partition=0)
        self._producer.poll(0)

    def _make(self, settings: Kafka) -> None:
        properties: dict[str, Any] = {**settings.client_properties(), "logger": logging.getLogger("librdkafka")}
        admin = AdminClient(properties)
        wanted = NewTopic(
            self._topic,
            num_partitions=1,
            replication_factor=settings.replication_factor,
            config={"retention.ms": str(_RETENTION_MS), "segment.ms": str(_RETENTION_MS)},
        )
        with contextlib.suppress(KafkaException, TimeoutError):  # there already, or nobody answers
            settled(admin.create_topics([wanted], request_timeout=_MAKE_S).values(), _MAKE_S)
