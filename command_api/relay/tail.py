"""The end of the log: the last position that stands there whole, and which history it belongs to.

The log is read backwards in growing windows, so that a log that ends in a transaction of a million records without an
END costs little more than reading it once. Nothing is kept of a window but its furthest END or heartbeat.

The last one need not be the furthest: a relay that was paused, lost the slot and woke up writes what it still held
behind what its successor wrote. The caller says which position must be there, and the search goes on to it. A record
that is none of this contract's is passed over here: it stops the projector, who says what to do.

A log is of one history, so when the furthest record does not name it, as a stock connector's, any record before it may.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from command_api import envelope
from command_api.lsn import Lsn
from command_api.process.kafka_login import KafkaRefusedError, Refusals, opened, reached
from command_api.process.settings import Kafka
from command_api.relay.errors import LogUnavailableError, SetupError
from command_api.relay.publish import QUIET, kafka_error

_FIRST_WINDOW: Final = 64
_GROWTH: Final = 8
_TIMEOUT_S: Final = 10.0
_LSN_END: Final = 1 << 52  # write timestamps have room for no more
_LSN_DIGITS: Final = 16
_HISTORY_RECORDS: Final = 100_000  # read at most for the history alone


@dataclass(frozen=True, kw_only=True)
class Tail:
    """The log's end. position: None when no END or heartbeat is in it. records: offsets low..high that it holds.

    history: as `Identity.text`, None when nothing near the end names it. unfinished: records after the position.
    at: of the record that the position is of, microseconds since 1970.
    """

    position: Lsn | None = None
    history: str | None = None
    records: int = 0
    unfinished: int = 0
    at: int = 0


def read_tail(settings: Kafka, at_least: int = 0) -> Tail:
    """Read the log's end, back to a position not below `at_least`, or all of it when there is none.

    Raises LogUnavailableError, or SetupError when the topic is missing or unfit.
    """
    refusals = Refusals()
    with _consumer(settings, refusals) as consumer:
        check_topic(consumer, settings.topic, refusals)
        low, high = consumer.get_watermark_offsets(TopicPartition(settings.topic, 0), timeout=_TIMEOUT_S)
        window, end = _FIRST_WINDOW, high
        found = Tail(records=high - low, unfinished=high - low)
        named: str | None = None
        while end > low and (
            found.position is None
            or found.position < at_least
            or (not (found.history or named) and high - end < _HISTORY_RECORDS)
        ):
            start = max(low, end - window)
            for offset, value in _records(consumer, settings.topic, start, end):
                record = _boundary(value)
                if record is None:
                    continue
                named = history(record) or named
                lsn = position(record)
                if lsn is not None and (found.position is None or lsn >= found.position):
                    at = record.ts_us if record.ts_us is not None else record.ts_ms * 1_000
                    unfinished = high - offset - 1
                    found = Tail(position=lsn, history=record.history, records=high - low, unfinished=unfinished, at=at)
            end, window = start, window * _GROWTH
        return replace(found, history=found.history or named)


def _boundary(value: bytes) -> envelope.Record | None:
    """A record that is no change; None for changes and for what is no record."""
    if value.find(b'"before"', 0, 12) >= 0:
        return None
    try:
        return envelope.decode(value)
    except envelope.LogRecordError:
        return None


def history(record: envelope.Record) -> str | None:
    """The history that a record names: an END or heartbeat of the relay's, or a message beside a stock connector."""
    message = record.message
    if message is not None and message.prefix == envelope.HEARTBEAT_PREFIX:
        with suppress(ValueError):
            return base64.b64decode(message.content or "", validate=True).decode() or None
    return record.history


def position(record: envelope.Record) -> Lsn | None:
    """The LSN that an END or a heartbeat stands for, None for other records and for what is no LSN of a server."""
    lsn = None
    if record.status == "END" and record.id is not None:
        digits = record.id.rpartition(":")[2]
        lsn = int(digits) if digits.isdecimal() and len(digits) <= _LSN_DIGITS else None
    elif record.status is None and record.op is None:
        lsn = record.lsn
    return Lsn(lsn) if lsn is not None and 0 <= lsn < _LSN_END else None


def check_topic(consumer: Consumer, topic: str, refusals: Refusals) -> None:
    """Raise SetupError unless the topic is there with one partition. Lists all topics: naming one could create it."""
    try:
        found = reached(consumer, refusals, _TIMEOUT_S).topics.get(topic)
    except KafkaRefusedError as error:
        raise SetupError(str(error)) from error
    if found is None:
        raise SetupError(f"the log's topic {topic!r} is missing", hint="Run `relay setup`")
    if len(found.partitions) != 1:
        raise SetupError(
            f"the log's topic {topic!r} has {len(found.partitions)} partitions",
            hint="The log needs exactly one, for the order of commits: name another in kafka.topic, then `relay setup`",
        )


@contextmanager
def _consumer(settings: Kafka, refusals: Refusals) -> Iterator[Consumer]:
    try:
        consumer = opened(Consumer, _properties(settings, refusals))
    except KafkaRefusedError as error:
        raise SetupError(str(error)) from error
    try:
        yield consumer
    except KafkaException as error:
        raise kafka_error(error.args[0], "the log's end can't be read") from error
    finally:
        consumer.close()


def _properties(settings: Kafka, refusals: Refusals) -> dict[str, Any]:
    return {
        "fetch.message.max.bytes": 8 << 20,
        "queued.max.messages.kbytes": 32 << 10,
        **settings.client_properties(),
        "group.id": f"{settings.group_id}-tail",
        "enable.auto.commit": False,
        "enable.partition.eof": False,
        "error_cb": refusals,
        **QUIET,
        "auto.offset.reset": "earliest",
    }


def _records(consumer: Consumer, topic: str, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Offsets and values in start..end-1."""
    consumer.assign([TopicPartition(topic, 0, start)])
    deadline, at = time.monotonic() + _TIMEOUT_S, start
    while at < end:
        messages = consumer.consume(1000, 0.2)
        for message in messages:
            error, offset, value = message.error(), message.offset(), message.value()
            if error is not None:
                raise kafka_error(error, "the log's end can't be read")
            assert offset is not None
            at = offset + 1
            if at <= end and value is not None:
                yield offset, value
        if messages:
            deadline = time.monotonic() + _TIMEOUT_S
        elif time.monotonic() > deadline:
            raise LogUnavailableError(
                f"the log's end can't be read: nothing came for {_TIMEOUT_S:.0f} s at offset {at}"
            )
