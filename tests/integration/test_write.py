"""The writer against a real Cassandra: every kind comes back, timestamps decide, and what fails is tried again.

Connections are cut and stalled by a relay of bytes on loopback between the writer and the server.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from cassandra.cluster import Session

from command_api.process.settings import Cassandra
from projections.cassandra_table import CassandraTable, create_positions, write_timestamp
from projections.read_model import Clustering
from projections.values import Kind, ValueType
from projector.cassandra.errors import (
    CassandraUnreachableError,
    MissingTableError,
    RefusedRowError,
    WriterStoppedError,
)
from projector.cassandra.progress import Position
from projector.cassandra.session import close, connect
from projector.cassandra.write import Writer

TEXT = ValueType(kind=Kind.TEXT)
INT = ValueType(kind=Kind.INTEGER, bits=32)
T = write_timestamp(1, 1_000)


@pytest.fixture
def made(cassandra_session: Session, keyspace: str) -> str:
    """The test's keyspace, made."""
    cassandra_session.execute(
        f"create keyspace {keyspace} with replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    return keyspace


@pytest.fixture
def notes(cassandra_session: Session, made: str) -> CassandraTable:
    """A table (a, b) → v."""
    table = CassandraTable(
        keyspace=made,
        name="notes",
        columns={"a": INT, "b": INT, "v": TEXT},
        partition_key=("a",),
        clustering=(Clustering(column="b"),),
    )
    cassandra_session.execute(table.create())
    return table


@pytest.fixture
def session(stack: Any) -> Iterator[Session]:
    """The projector's session, straight to the server."""
    host, port = stack.cassandra
    session = connect(Cassandra(contact_points=(host,), port=port))
    yield session
    close(session)


@pytest.fixture
def writer(session: Session, notes: CassandraTable) -> Writer:
    writer = Writer(session)
    writer.prepare(notes)
    return writer


def stored(cassandra_session: Session, table: CassandraTable) -> set[tuple[Any, ...]]:
    return {tuple(row) for row in cassandra_session.execute(f"select a, b, v from {table.qualified}")}


def test_every_kind_is_read_back_by_a_plain_driver(session: Session, cassandra_session: Session, made: str) -> None:
    values: list[tuple[ValueType, Any, Any]] = [
        (ValueType(kind=Kind.BOOLEAN), 1, True),
        (ValueType(kind=Kind.INTEGER, bits=16), -32_768, -32_768),
        (INT, 2**31 - 1, 2**31 - 1),
        (ValueType(kind=Kind.INTEGER, bits=64), -(2**63), -(2**63)),
        (ValueType(kind=Kind.NUMERIC, precision=12, scale=2), -1_250, Decimal("-12.50")),
        (ValueType(kind=Kind.NUMERIC), "123456789012345678901234567890.5", Decimal("123456789012345678901234567890.5")),
        (ValueType(kind=Kind.FLOAT), 0.1, 0.1),
        (ValueType(kind=Kind.FLOAT), "-Infinity", float("-inf")),
        (TEXT, "naïve \0 🙂", "naïve \0 🙂"),
        (ValueType(kind=Kind.JSON), '{"a": 1}', '{"a": 1}'),
        (ValueType(kind=Kind.ARRAY), "[1, null]", "[1, null]"),
        (ValueType(kind=Kind.BYTES), b"\0\xff", b"\0\xff"),
        (ValueType(kind=Kind.TIMESTAMP), -1, -1),
        (ValueType(kind=Kind.TIMESTAMPTZ), 1_763_692_642_123_456, 1_763_692_642_123_456),
        (ValueType(kind=Kind.INTERVAL), 5, 5),
    ]
    named = {f"c{i}": kind for i, (kind, _, _) in enumerate(values)}
    table = CassandraTable(
        keyspace=made,
        name="kinds",
        columns={
            "id": ValueType(kind=Kind.UUID),
            "day": ValueType(kind=Kind.DATE),
            "at": ValueType(kind=Kind.TIME),
            **named,
        },
        partition_key=("id", "day"),
        clustering=(Clustering(column="at", descending=True),),
    )
    cassandra_session.execute(table.create())
    full, empty = uuid.uuid4(), uuid.uuid4()
    writer = Writer(session)
    writer.prepare(table)
    writer.upsert(
        "kinds",
        [
            (str(full), -1, 86_399_999_999, *(value for _, value, _ in values)),
            (str(empty), 20_000, 0, *(None for _ in values)),
        ],
        T,
    )
    writer.drain()
    rows = {row.id: row for row in cassandra_session.execute(f"select * from {table.qualified}")}
    assert rows[full].day.days_from_epoch == -1
    assert rows[full].at.nanosecond_time == 86_399_999_999_000
    assert [getattr(rows[full], name) for name in named] == [expected for _, _, expected in values]
    assert [getattr(rows[empty], name) for name in named] == [None] * len(named)


def test_the_write_time_is_the_timestamp_and_an_older_one_never_wins(
    writer: Writer, cassandra_session: Session, notes: CassandraTable
) -> None:
    writer.upsert("notes", [(1, 1, "new"), (1, 2, "new")], T)
    writer.drain()
    writer.upsert("notes", [(1, 1, "old")], T - 1)
    writer.delete("notes", [(1, 2)], T - 1)
    writer.drain()
    assert stored(cassandra_session, notes) == {(1, 1, "new"), (1, 2, "new")}
    times = cassandra_session.execute(f"select writetime(v) as t from {notes.qualified}")
    assert {row.t for row in times} == {T}


def test_a_delete_ends_a_row_until_a_later_upsert(
    writer: Writer, cassandra_session: Session, notes: CassandraTable
) -> None:
    writer.upsert("notes", [(1, 1, "x"), (1, 2, "x"), (2, 1, "x")], T)
    writer.drain()
    writer.delete("notes", [(1, 1), (2, 1)], T + 1)
    writer.drain()
    assert stored(cassandra_session, notes) == {(1, 2, "x")}
    writer.upsert("notes", [(1, 1, "x")], T)
    writer.upsert("notes", [(2, 1, "again")], T + 2)
    writer.drain()
    assert stored(cassandra_session, notes) == {(1, 2, "x"), (2, 1, "again")}


def test_null_overwrites_a_value_and_keeps_the_row(
    writer: Writer, cassandra_session: Session, notes: CassandraTable
) -> None:
    writer.upsert("notes", [(1, 1, "x")], T)
    writer.drain()
    writer.upsert("notes", [(1, 1, None)], T + 1)
    writer.drain()
    assert stored(cassandra_session, notes) == {(1, 1, None)}


def test_many_partitions_and_wide_ones_without_a_warning(
    writer: Writer, cassandra_session: Session, notes: CassandraTable, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [(n % 1_500, n, f"v{n}") for n in range(3_000)] + [(-1, n, "x" * 100) for n in range(2_000)]
    writer.upsert("notes", rows, T)
    writer.drain()
    assert stored(cassandra_session, notes) == set(rows)
    writer.delete("notes", [row[:2] for row in rows if row[1] % 2], T + 1)
    writer.drain()
    assert stored(cassandra_session, notes) == {row for row in rows if not row[1] % 2}
    assert "atch" not in caplog.text, "the server warns about batches"


def test_the_row_that_cassandra_refuses_is_found_and_the_others_are_written(
    session: Session, cassandra_session: Session, made: str
) -> None:
    table = CassandraTable(
        keyspace=made, name="notes", columns={"a": INT, "b": INT, "v": TEXT}, partition_key=("a",), clustering=()
    )
    # The server's column takes less than the declaration says: only the server can refuse.
    cassandra_session.execute(table.create().replace('"v" text', '"v" ascii'))
    writer = Writer(session)
    writer.prepare(table)
    writer.upsert("notes", [(n, n, "é" if n == 17 else "e") for n in range(60)], T)
    with pytest.raises(RefusedRowError, match=r"notes\(a=17\).*ascii") as refused:
        writer.drain()
    assert [row.key for row in refused.value.rows] == [{"a": 17}]
    writer.drain()
    assert {row[0] for row in stored(cassandra_session, table)} == set(range(60)) - {17}


def test_a_row_refused_before_sending_is_named_by_drain_and_the_others_are_written(
    writer: Writer, cassandra_session: Session, notes: CassandraTable
) -> None:
    writer.upsert("notes", [(1, 1, "x"), (2**31, 1, "x"), (None, 2, "x"), (2, 2, "x")], T)
    with pytest.raises(RefusedRowError, match="2 row") as refused:
        writer.drain()
    assert [row.key["a"] for row in refused.value.rows] == [2**31, None]
    assert stored(cassandra_session, notes) == {(1, 1, "x"), (2, 2, "x")}


@pytest.mark.parametrize("mebibytes", [17, 40])
def test_a_row_larger_than_the_server_takes_is_refused(
    writer: Writer, cassandra_session: Session, notes: CassandraTable, mebibytes: int
) -> None:
    writer.upsert("notes", [(1, 1, "x"), (1, 2, "x" * (mebibytes << 20)), (2, 1, "x")], T)
    with pytest.raises(RefusedRowError) as refused:
        writer.drain()
    assert [row.key for row in refused.value.rows] == [{"a": 1, "b": 2}]
    writer.upsert("notes", [(3, 1, "x")], T)
    writer.drain()
    assert stored(cassandra_session, notes) == {(1, 1, "x"), (2, 1, "x"), (3, 1, "x")}


def test_a_statement_that_the_server_forgot_is_prepared_again(
    session: Session, cassandra_session: Session, notes: CassandraTable
) -> None:
    retries: list[str] = []
    writer = Writer(session, on_retry=retries.append)
    writer.prepare(notes)
    cassandra_session.execute(f"alter table {notes.qualified} add w int")  # evicts what was prepared on the table
    rows = [(n, n, "x") for n in range(500)]
    writer.upsert("notes", rows, T)
    writer.drain()
    assert stored(cassandra_session, notes) == set(rows)
    assert set(retries) == {"unprepared"}


def test_a_missing_table_is_an_error_with_a_remedy(
    session: Session, cassandra_session: Session, notes: CassandraTable
) -> None:
    writer = Writer(session)
    writer.prepare(notes)
    cassandra_session.execute(f"drop table {notes.qualified}")
    with pytest.raises(MissingTableError, match="projector setup"):
        Writer(session).prepare(notes)
    writer.upsert("notes", [(1, 1, "x")], T)
    with pytest.raises(MissingTableError, match="projector setup"):
        writer.drain()


def test_positions_are_published_and_never_go_back(
    session: Session, cassandra_session: Session, writer: Writer, made: str
) -> None:
    place = {"keyspace": made, "projection": "p"}
    with pytest.raises(MissingTableError, match="projector setup"):
        writer.read_positions(**place)
    cassandra_session.execute(create_positions(made))
    assert writer.read_positions(**place) == {}
    writer.publish_positions({"x": 200, "y": 200}, 5_000_000, 1, **place)
    writer.publish_positions({"x": 100, "y": 300}, 6_000_000, 1, **place)
    writer.publish_positions({"x": 900}, 6_000_000, 1, **place, shard=1)
    assert writer.read_positions(**place) == {
        "x": Position(lsn=200, epoch=1, committed_at=5_000_000),
        "y": Position(lsn=300, epoch=1, committed_at=6_000_000),
    }
    writer.publish_positions({"x": 50}, 7_000_000, 2, **place)
    assert writer.read_positions(**place)["x"] == Position(lsn=50, epoch=2, committed_at=7_000_000)


def test_a_single_row_is_acknowledged_at_once(writer: Writer) -> None:
    took = []
    for n in range(100):
        began = time.perf_counter()
        writer.upsert("notes", [(1, n, "x")], T)
        writer.drain()
        took.append(time.perf_counter() - began)
    assert sorted(took)[50] < 0.02, "a lost wake-up costs at least the writer's 0.1 s look-around"


# -- Cassandra fails --------------------------------------------------------------------------------------------------


class Wire:
    """A relay of bytes between clients and the server; `cut` closes every connection, `stall` passes nothing on."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._over = False
        self.stalled = False
        self.port = 0
        self.open()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        with self._lock:
            self._listener = listener
            self._selector.register(listener, selectors.EVENT_READ)

    def shut(self) -> None:
        with self._lock:
            if self._listener is not None:
                self._selector.unregister(self._listener)
                self._listener.close()
                self._listener = None
        self.cut()

    def cut(self) -> None:
        with self._lock:
            for end in list(self._peers):
                self._drop(end)

    def stall(self) -> None:
        """Hold back the bytes of the connections of now; later ones pass."""
        with self._lock:
            for end in self._peers:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(end)

    def close(self) -> None:
        self._over = True
        self._thread.join()
        self.shut()
        self._selector.close()

    def _drop(self, end: socket.socket) -> None:
        other = self._peers.pop(end, None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(end)
        end.close()
        if other is not None:
            self._drop(other)

    def _run(self) -> None:
        while not self._over:
            events = self._selector.select(0.02)
            with self._lock:
                for key, _ in events:
                    end = key.fileobj
                    if end is self._listener:
                        client, _ = self._listener.accept()
                        server = socket.create_connection(self._server)
                        for one, other in ((client, server), (server, client)):
                            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                            self._peers[one] = other
                            self._selector.register(one, selectors.EVENT_READ)
                    elif end in self._peers:
                        self._pass(end)  # type: ignore[arg-type]

    def _pass(self, end: socket.socket) -> None:
        try:
            data = end.recv(1 << 16)
            if data:
                self._peers[end].sendall(data)
                return
        except OSError:
            pass
        self._drop(end)


@pytest.fixture
def wire(stack: Any) -> Iterator[Wire]:
    wire = Wire(stack.cassandra)
    yield wire
    wire.close()


@pytest.fixture
def far(wire: Wire) -> Iterator[Session]:
    """The projector's session through the wire."""
    session = connect(Cassandra(contact_points=("127.0.0.1",), port=wire.port))
    yield session
    close(session)


def test_cut_connections_lose_no_row(
    far: Session, wire: Wire, cassandra_session: Session, notes: CassandraTable
) -> None:
    retries: list[str] = []
    writer = Writer(far, on_retry=retries.append, in_flight=8)
    writer.prepare(notes)
    done = threading.Event()

    def cut_again_and_again() -> None:
        while not done.wait(0.4):
            wire.cut()

    cutter = threading.Thread(target=cut_again_and_again)
    cutter.start()
    expected: dict[tuple[int, int], str] = {}
    try:
        until, version = time.monotonic() + 4, 0
        while time.monotonic() < until or not retries:
            version += 1
            rows = [(n, version % 20, f"v{version}") for n in range(300)]
            writer.upsert("notes", rows, T + version)
            expected |= {row[:2]: row[2] for row in rows}
    finally:
        done.set()
        cutter.join()
    writer.drain()
    assert stored(cassandra_session, notes) == {(*key, value) for key, value in expected.items()}
    assert {"connection", "no_host"} & set(retries)


def test_a_connection_that_goes_silent_is_given_up_and_replaced(
    far: Session, wire: Wire, cassandra_session: Session, notes: CassandraTable
) -> None:
    retries: list[str] = []
    writer = Writer(far, on_retry=retries.append, request_timeout_s=0.3)
    writer.prepare(notes)
    wire.stall()
    rows = [(n, n, "x") for n in range(2_000)]
    writer.upsert("notes", rows, T)
    writer.drain()
    assert stored(cassandra_session, notes) == set(rows)
    assert "timeout" in retries
    pools = list(far._pools.values())
    assert [pool.get_connections()[0].in_flight for pool in pools] == [0]


def test_a_server_that_is_away_is_waited_for(
    far: Session, wire: Wire, cassandra_session: Session, notes: CassandraTable, caplog: pytest.LogCaptureFixture
) -> None:
    retries: list[str] = []
    writer = Writer(far, on_retry=retries.append)
    writer.prepare(notes)
    wire.shut()
    threading.Timer(1.5, wire.open).start()
    rows = [(n, n, "x") for n in range(1_000)]
    began = time.monotonic()
    writer.upsert("notes", rows, T)
    writer.drain()
    assert 1.0 < time.monotonic() - began < 20
    assert stored(cassandra_session, notes) == set(rows)
    assert "no_host" in retries


def test_stop_ends_the_wait_for_a_server_that_is_away(far: Session, wire: Wire, notes: CassandraTable) -> None:
    stop = threading.Event()
    writer = Writer(far, stop=stop)
    writer.prepare(notes)
    wire.shut()
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    writer.upsert("notes", [(n, 1, "x") for n in range(100)], T)
    with pytest.raises(WriterStoppedError, match="next start"):
        writer.drain()
    assert time.monotonic() - began < 5


def test_no_server_is_an_error_that_says_what_to_look_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(CassandraUnreachableError, match=rf"127\.0\.0\.1:{port}.*local_datacenter"):
        connect(Cassandra(port=port), deadline_s=1.2)
