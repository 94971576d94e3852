"""The log's contract, both directions: what the relay writes into Kafka and what a projector reads out of it.

Records are Debezium's JSON envelopes (schemas off) with its default encodings and ``decimal.handling.mode=string``;
https://debezium.io/documentation/reference/stable/connectors/postgresql.html gives the source of each. All go to one
partition, so offsets are the order in which Postgres committed.

A change:  key    {"<key column>": value, …, "__dbz__physicalTableIdentifier": "<name>.<schema>.<table>"}
           value  {"before": {…} | null, "after": {…} | null, "source": {"connector": "postgresql", "name", "db",
                  "schema", "table", "txId", "lsn", "ts_ms", "ts_us", "snapshot"}, "op": "c" | "u" | "d" | "r" | "t", "ts_ms",
                  "transaction": {"id": "<xid>:<lsn>", "total_order": n, "data_collection_order": m}}
BEGIN:     key    {"id": "<xid>:<lsn>"}   value {"status": "BEGIN", "id", "event_count": null,
                  "data_collections": null, "ts_ms", "ts_us"}
END:       key    {"id"}                  value {"status": "END", "id": "<xid>:<end lsn>", "event_count": n,
                  "data_collections": [{"data_collection": "<schema>.<table>", "event_count": m}, …], "ts_ms", "ts_us",
                  "history": "<system identifier>/<timeline>",
                  "columns": {"<schema>.<table>": {"<column>": number, …}, …}}
A message: key    {"prefix": "lockstep.…"}
           value  {"op": "m", "ts_ms", "source": {… "schema": "", "table": ""}, "transaction": {… as of a change},
                  "message": {"prefix", "content": "<base64>"}}
Heartbeat: key    {"serverName": name}    value {"ts_ms", "ts_us", "lsn", "history"}

Rules that a reader may rely on:
- A message is what ``pg_logical_emit_message(true, prefix, content)`` put into its transaction; it has a place in the
  order and is counted in END, there under the data collection ``LOGICAL_DECODING_MESSAGE``, as Debezium does both. Only
  prefixes that begin with `MESSAGE_PREFIX` are sure to be in the log; others pass by.
- ``ts_ms``/``ts_us`` of source, BEGIN and END are the commit time; ``total_order`` counts 1..event_count without gaps.
- The part of an id before the colon is the transaction's; the LSN in END's id is the end of its commit record.
- A snapshot is one transaction whose xid part is ``snapshot`` and whose changes have op ``r``; its LSN is the slot's
  consistent point.
- A primary-key change is a ``d`` (with the old key in ``before``), then a ``c``. A ``d`` has at least its key in
  ``before``.
- The ``c`` of a primary-key change may hold `UNAVAILABLE` too: the value is that of the row which the ``d`` before it
  deletes, so a reader that fills it in must keep that row until then.
- A truncate is one ``t`` record a table, with neither before nor after.
- A truncate's key is null, as Debezium's is.
- ``history`` names the server and timeline whose LSN the record carries, so whoever goes on from a position knows which
  history it belongs to. END of a stock Debezium lacks it; beside one, messages with `HEARTBEAT_PREFIX` have it as their
  content. What else differs is in deploy/debezium/README.md.
- ``columns`` has each column's number in Postgres's catalog (``attnum``), of the tables that have changes and, in a snapshot's END,
  of all that are read; it is of when the relay looked, then or later. A name with another number is another column than it was:
  dropped and added again, or renamed, both of which give rows other values without a record. A stock Debezium's END lacks it.
- How each type's values are written is the table in `command_api.relay.encodings`. What a reader has to know of the
  column to invert it: a ``time(p)`` or ``timestamp(p)`` is milliseconds if its declared precision p <= 3, else
  microseconds (no precision is 6); a ``timestamptz(p)`` is ISO 8601 text in UTC ending in ``Z`` with exactly p digits
  (none for p = 0), ``infinity`` or ``-infinity``; ``numeric`` and ``float`` may be "NaN", "Infinity" or "-Infinity".
  Infinite timestamps, dates and intervals are the constants `command_api.relay.encodings.*_INFINITY` as numbers; a
  date's two are both below every finite date.
- A column that Postgres left out as unchanged TOAST holds `UNAVAILABLE` (a text), base64 of it (bytea), or a
  list of it; a stock Debezium's arrays of integers a list of its bytes, of uuids a list of the uuid that it names.
- A heartbeat's lsn is the stream's own keepalive position between transactions: everything that commits at or below it
  stands before it in the log. Its time is one up to which that is all that was committed, as far as was known within a
  second; where nothing is written, the same lsn comes again with a later time.
Not promised: that a transaction stands in the log only once, or whole. A reader skips what ends at or below its
position, takes a transaction when its END is there with its count, and drops an unfinished one at its next BEGIN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

UNAVAILABLE = "__debezium_unavailable_value"
TABLE_KEY = "__dbz__physicalTableIdentifier"
SNAPSHOT_XID = "snapshot"
MESSAGE_PREFIX = "lockstep."
HEARTBEAT_PREFIX = f"{MESSAGE_PREFIX}heartbeat"
MESSAGES = b'"LOGICAL_DECODING_MESSAGE"'
"""What END counts messages under, as JSON."""


class LogRecordError(ValueError):
    """A record in the log that can't be decoded or that contradicts the contract."""


class Source(msgspec.Struct, gc=False):
    """Where a change was made; `ts_us` is absent from old Debezium records, `lsn` is the row's own."""

    table: str = ""  # Debezium's messages have none
    schema: str = "public"
    lsn: int | None = None
    ts_ms: int = 0
    ts_us: int | None = None


class Place(msgspec.Struct, gc=False):
    """A change's place in its transaction."""

    id: str
    total_order: int


class Message(msgspec.Struct, gc=False):
    """A message of the source; `content` is as the log carries it, base64 unless a connector was told otherwise."""

    prefix: str | None = None
    content: str | None = None


class Record(msgspec.Struct, gc=False):
    """Any record; which one it is follows from `op` (a change, ``m`` for a message), `status` (BEGIN, END) or `lsn` alone
    (a heartbeat).

    before, after: the row images, still encoded (`msgspec.Raw`), for a decoder typed by the reader's table.
    """

    op: str | None = None
    before: msgspec.Raw = msgspec.Raw(b"null")
    after: msgspec.Raw = msgspec.Raw(b"null")
    source: Source | None = None
    transaction: Place | None = None
    message: Message | None = None
    status: str | None = None
    id: str | None = None
    event_count: int | None = None
    lsn: int | None = None
    ts_ms: int = 0
    ts_us: int | None = None
    history: str | None = None
    columns: msgspec.Raw = msgspec.Raw(b"")


_decode = msgspec.json.Decoder(Record).decode


def decode(value: bytes) -> Record:
    """Read one record's value; raises LogRecordError when it is no record of this contract."""
    try:
        return _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LogRecordError(f"not a record of the log's contract: {error}") from error


# The other direction: encoders of the records that are not rows. Rows' own are compiled a relation
# (`command_api.relay.rows`) around the two parts that all of a transaction's rows share.

_encode = msgspec.json.Encoder().encode


def source_part(committed_at: int, xid: int | None, *, snapshot: bool = False) -> bytes:
    """The members of ``source`` that a transaction's rows share; `committed_at` in microseconds."""
    return b'"txId":%b,"ts_ms":%d,"ts_us":%d,"snapshot":"%b"' % (
        b"null" if xid is None else b"%d" % xid,
        committed_at // 1000,
        committed_at,
        b"true" if snapshot else b"false",
    )


def transaction_part(transaction_id: bytes, now_ms: int) -> bytes:
    """``ts_ms`` (when the relay read it) and the start of ``transaction``, which the row's orders complete."""
    return b'"ts_ms":%d,"transaction":{"id":"%b"' % (now_ms, transaction_id)


def transaction_key(transaction_id: bytes) -> bytes:
    """The key of BEGIN and END."""
    return b'{"id":"%b"}' % transaction_id


def begin(transaction_id: bytes, committed_at: int) -> bytes:
    """A BEGIN's value."""
    return b'{"status":"BEGIN","id":"%b","event_count":null,"data_collections":null,"ts_ms":%d,"ts_us":%d}' % (
        transaction_id,
        committed_at // 1000,
        committed_at,
    )


def numbered(table: bytes, numbers: Mapping[str, int]) -> bytes:
    """A table's member of END's ``columns``; `table` is JSON."""
    return table + b":" + _encode(numbers)


def end(
    transaction_id: bytes,
    event_count: int,
    collections: Iterable[tuple[bytes, int]],
    committed_at: int,
    history: bytes,
    columns: Iterable[bytes] = (),
) -> bytes:
    """An END's value.

    `transaction_id` ends in the commit's end LSN, `collections` are (JSON of table, changes), `columns` as `numbered` makes them.
    """
    counts = b",".join([b'{"data_collection":%b,"event_count":%d}' % each for each in collections])
    return (
        b'{"status":"END","id":"%b","event_count":%d,"data_collections":[%b],"ts_ms":%d,"ts_us":%d,"history":"%b","columns":{%b}}'
        % (
            transaction_id,
            event_count,
            counts,
            committed_at // 1000,
            committed_at,
            history,
            b",".join(columns),
        )
    )


def message_key(prefix: str) -> bytes:
    """A message's key."""
    return _encode({"prefix": prefix})


def message(
    prefix: str, content: bytes, lsn: int, source: bytes, transaction: bytes, total_order: int, nth: int
) -> bytes:
    """A message's value; `source` and `transaction` are the parts that all of its transaction's records share."""
    return (
        b'{"op":"m","source":{"version":"1","connector":"postgresql","schema":"","table":"",%b,"lsn":%d},%b,'
        b'"total_order":%d,"data_collection_order":%d},"message":%b}'
    ) % (
        source,
        lsn,
        transaction,
        total_order,
        nth,
        _encode({"prefix": prefix, "content": content}),
    )


def heartbeat_key(server_name: str) -> bytes:
    """A heartbeat's key."""
    return _encode({"serverName": server_name})


def heartbeat(lsn: int, now_us: int, history: str) -> bytes:
    """A heartbeat's value; `now_us` is the relay's clock."""
    return b'{"ts_ms":%d,"ts_us":%d,"lsn":%d,"history":"%b"}' % (now_us // 1000, now_us, lsn, history.encode())
