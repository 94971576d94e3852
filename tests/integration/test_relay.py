"""The relay on real servers: what stands in the log after set-up, changes, crashes and misfits equals what was committed."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from psycopg.conninfo import make_conninfo

from command_api import envelope
from command_api.envelope import UNAVAILABLE
from command_api.lsn import Lsn
from command_api.process.settings import Settings
from command_api.relay import loop
from command_api.relay.catalog import Catalog
from command_api.relay.errors import HistoryError, SetupError, SourceUnavailableError, StoppedError
from command_api.relay.fresh_snapshot import fresh_snapshot
from command_api.relay.metrics import MetricsServer, RelayState
from command_api.relay.publish import Publisher
from command_api.relay.setup import drop_slot, setup
from command_api.relay.status import read_status
from command_api.relay.tail import position, read_tail

DEADLINE_S = 30.0


def until(condition: Callable[[], Any], *, seconds: float = DEADLINE_S) -> Any:
    """Wait for something true; fails the test when it does not come."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"did not come about within {seconds} s"
        time.sleep(0.01)
    return found


@pytest.fixture
def admin(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's connection in autocommit."""
    with psycopg.connect(settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
        yield connection


def for_tables(settings: Settings, *tables: str) -> Settings:
    """The settings with other tables than the metadata's."""
    return settings.model_copy(
        update={"relay": settings.relay.model_copy(update={"tables": tuple(f"public.{table}" for table in tables)})}
    )


@contextmanager
def running(settings: Settings) -> Iterator[RelayState]:
    """A relay on a thread of its own; fails when it stopped by itself."""
    state, stop = RelayState(), threading.Event()
    failures: list[Exception] = []

    def target() -> None:
        try:
            loop.run(settings, state, stop)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        until(lambda: state.streaming or failures)
        if not failures:
            yield state
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
        if failures:
            raise failures[0]


def log_records(settings: Settings) -> list[dict[str, Any]]:
    """Every value in the log."""
    consumer = Consumer({**settings.kafka.client_properties(), "group.id": "test", "enable.auto.commit": False})
    try:
        place = TopicPartition(settings.kafka.topic, 0, 0)
        _, high = consumer.get_watermark_offsets(place, timeout=10)
        consumer.assign([place])
        values: list[dict[str, Any]] = []
        while len(values) < high:
            for message in consumer.consume(1000, 1):
                assert message.error() is None
                values.append(json.loads(message.value() or b"{}"))
        return values
    finally:
        consumer.close()


def log_length(settings: Settings) -> int:
    """How many records the log holds."""
    consumer = Consumer({**settings.kafka.client_properties(), "group.id": "test"})
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(settings.kafka.topic, 0), timeout=10)[1])
    finally:
        consumer.close()


def grows(settings: Settings, length: int) -> None:
    """Wait until the log is longer."""
    until(lambda: log_length(settings) > length)


def streams(state: RelayState, session: int) -> None:
    """Wait until the relay's n-th session streams."""
    until(lambda: state.streaming and state.sessions == session)


def confirmed(settings: Settings) -> int:
    """What the slot has confirmed: everything up to it is acknowledged by Kafka."""
    with Catalog(settings.postgres.admin.get_secret_value()) as catalog:
        slot = catalog.slot(settings.relay.slot)
    return slot.confirmed if slot else 0


def transactions(settings: Settings) -> list[list[dict[str, Any]]]:
    """The changes of each whole transaction, as a reader takes them: unfinished ones dropped, repeated ones a failure."""
    whole: list[list[dict[str, Any]]] = []
    changes: list[dict[str, Any]] = []
    seen = 0
    for value in log_records(settings):
        if value.get("status") == "BEGIN":
            changes = []
        elif "op" in value:
            changes.append(value)
        elif value.get("status") == "END":
            end = int(value["id"].split(":")[1])
            assert end > seen, "a transaction stands in the log twice"
            assert value["event_count"] == len(changes)
            assert [change["transaction"]["total_order"] for change in changes] == list(range(1, len(changes) + 1))
            whole.append(changes)
            seen = end
        else:
            assert value["lsn"] >= seen
            seen = value["lsn"]
    return whole


def flushed(admin: psycopg.Connection[Any]) -> Lsn:
    """A consistency token: at or after everything this connection has committed."""
    row = admin.execute("select pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return Lsn.parse(row[0])


def covered(state: RelayState, token: Lsn) -> None:
    """Wait until the log covers the token."""
    until(lambda: state.confirmed >= token)


TYPES = [
    ("boolean", "true", True),
    ("smallint", "-32768", -32768),
    ("integer", "2147483647", 2147483647),
    ("bigint", "-9223372036854775808", -9223372036854775808),
    ("oid", "4294967295", 4294967295),
    ("real", "1.5", 1.5),
    ("real", "1e-30", 1e-30),
    ("double precision", "0.1", 0.1),
    ("double precision", "1e300", 1e300),
    ("double precision", "'NaN'", "NaN"),
    ("double precision", "'-infinity'", "-Infinity"),
    ("numeric(12,2)", "12.5", "12.50"),
    ("numeric", "'NaN'", "NaN"),
    ("numeric", "1e40", "1" + "0" * 40),
    ("money", "-1234.5", "-1234.50"),
    ("text", "E'quote \" back \\\\ tab \\t é 😀'", 'quote " back \\ tab \t é 😀'),
    ("text", "repeat('ab', 200)", "ab" * 200),
    ("varchar(9)", "''", ""),
    ("char(4)", "'a'", "a   "),
    ("bytea", "'\\x00ff'", base64.b64encode(b"\0\xff").decode()),
    ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("json", """'{"a" : 1}'""", '{"a" : 1}'),
    ("jsonb", """'{"a" : 1}'""", '{"a": 1}'),
    ("date", "'2026-05-06'", 20579),
    ("date", "'4714-11-24 BC'", -2440588),
    ("date", "'infinity'", -2147472692),
    ("date", "'-infinity'", -2147472691),
    ("time", "'13:51:30.123456'", 49890123456),
    ("time(3)", "'13:51:30.1234'", 49890123),
    ("time(0)", "'24:00'", 86400000),
    ("timetz", "'13:51:30.123789+02'", "11:51:30.123789Z"),
    ("timetz(0)", "'13:51:30+02'", "11:51:30Z"),
    ("timestamp", "'2016-11-04T13:51:30.123456'", 1478267490123456),
    ("timestamp(3)", "'2016-11-04T13:51:30.1234'", 1478267490123),
    ("timestamp(0)", "'2016-11-04T13:51:30'", 1478267490000),
    ("timestamp", "'infinity'", 9223372036825200000),
    ("timestamp(2)", "'-infinity'", -9223372036832400),
    ("timestamp", "'4713-01-01 00:00:00 BC'", -210863520000000000),
    ("timestamptz", "'2016-11-04T13:51:30.12+02'", "2016-11-04T11:51:30.120000Z"),
    ("timestamptz(3)", "'2016-11-04T13:51:30+02'", "2016-11-04T11:51:30.000Z"),
    ("timestamptz(0)", "'2016-11-04T13:51:30+02'", "2016-11-04T11:51:30Z"),
    ("timestamptz", "'-infinity'", "-infinity"),
    ("timestamptz", "'0044-03-15 12:00:00+00 BC'", "-0043-03-15T12:00:00.000000Z"),
    ("timestamptz", "'21016-11-04T13:51:30.123456+07'", "+21016-11-04T06:51:30.123456Z"),
    ("interval", "'1 year 2 mons 3 days 04:05:06.789'", 14 * 2629800000000 + 3 * 86400000000 + 14706789000),
    ("interval", "'-1 mon -00:00:00.000001'", -2629800000001),
    ("integer[]", "'{1,NULL,3}'", [1, None, 3]),
    ("integer[]", "'{{1,2},{3,4}}'", [[1, 2], [3, 4]]),
    ("text[]", """array['a,b', 'q"\\', null, '', 'null', '{}']""", ["a,b", 'q"\\', None, "", "null", "{}"]),
    ("bytea[]", "array['\\x00ff'::bytea]", ["AP8="]),
    ("timestamp(3)[]", "array['2016-11-04T13:51:30.123'::timestamp]", [1478267490123]),
    ("mood", "'happy'", "happy"),
    ("mood[]", "array['sad','happy']::mood[]", ["sad", "happy"]),
    ("stamp", "'2016-11-04T13:51:30.1234'", 1478267490123),
    ("positive[]", "array[1,2]::positive[]", [1, 2]),
    ("inet", "'10.0.0.1'", "10.0.0.1"),
    ("int4range", "'[1,3)'", "[1,3)"),
    ("point", "'(1,2)'", "(1,2)"),
    ("text", "null", None),
    ("integer[]", "null", None),
]


def test_every_type_is_written_as_debezium_does_by_stream_and_snapshot_alike(
    settings: Settings, admin: psycopg.Connection[Any]
) -> None:
    admin.execute("create type mood as enum ('sad', 'happy')")
    admin.execute("create domain stamp as timestamp(3)")
    admin.execute("create domain positive as int check (value > 0)")
    # The server's own settings must not show: the relay's sessions fix how values are printed.
    database = admin.info.dbname
    for name, value in (
        ("DateStyle", "SQL, DMY"),
        ("IntervalStyle", "iso_8601"),
        ("TimeZone", "Asia/Tokyo"),
        ("bytea_output", "escape"),
    ):
        admin.execute(f"alter database \"{database}\" set {name} to '{value}'")
    columns = ", ".join(f"c{i} {kind}" for i, (kind, _, _) in enumerate(TYPES))
    values = ", ".join(value for _, value, _ in TYPES)
    admin.execute(f"create table every (id int primary key, {columns})")
    admin.execute(f"insert into every values (1, {values})")
    own = for_tables(settings, "every")
    setup(own)
    with running(own) as state:
        admin.execute(f"insert into every values (2, {values})")
        covered(state, flushed(admin))
    (read,), (created,) = transactions(own)
    assert (read["op"], created["op"]) == ("r", "c")
    expected = {f"c{i}": value for i, (_, _, value) in enumerate(TYPES)}
    for row in (read["after"], created["after"]):
        got = {name: value for name, value in row.items() if name != "id"}
        assert {n: (TYPES[int(n[1:])][:2], v) for n, v in got.items()} == {
            n: (TYPES[int(n[1:])][:2], v) for n, v in expected.items()
        }


def test_set_up_may_be_repeated_and_goes_on_from_an_interruption(
    settings: Settings, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.execute(
        "insert into users (user_id, name) select gen_random_uuid(), 'u' || i from generate_series(1, 2000) i"
    )
    published = Publisher.publish
    count = 0

    def failing(publisher: Publisher, key: bytes | None, value: bytes) -> None:
        nonlocal count
        count += 1
        if count == 1500:
            raise SourceUnavailableError("the connection broke")
        published(publisher, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "publish", failing)
        with pytest.raises(SourceUnavailableError, match="broke"):
            setup(settings)
    assert read_tail(settings.kafka).position is None
    with pytest.raises(SetupError, match=r"no whole snapshot.*relay setup"):
        loop.run(settings, RelayState(), threading.Event())
    admin.execute("delete from users where name = 'u1'")
    first = setup(settings)
    assert first.snapshot_rows == 1999
    again = setup(settings)
    assert (again.snapshot_rows, again.position) == (None, first.position)
    (rows,) = transactions(settings)
    assert len(rows) == 1999
    assert {row["op"] for row in rows} == {"r"}
    assert read_status(settings).problem == ""


def test_a_fresh_snapshot_stands_in_the_log_at_its_place(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    setup(settings)
    with running(settings) as state:
        admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'a')")
        covered(state, flushed(admin))
        with pytest.raises(SetupError, match="Stop it"):
            fresh_snapshot(settings)
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
            while not stop.is_set():
                connection.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
                connection.execute("delete from users where name = 'x' and random() < 0.005")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: admin.execute("select count(*) > 100 from users").fetchone() == (True,))
        report = fresh_snapshot(settings)
    finally:
        stop.set()
        writer.join()
    with running(settings) as state:
        covered(state, flushed(admin))
    # A reader that starts at the newest snapshot has the same rows as one that starts at the log's beginning.
    all_, place = transactions(settings), 0
    for i, changes in enumerate(all_):
        if any(change["op"] == "r" for change in changes):
            assert len(changes) == report.snapshot_rows
            place = i
    expected = {row[0] for row in admin.execute("select user_id::text from users").fetchall()}
    for start in (0, place):
        rows: set[str] = set()
        for change in (change for changes in all_[start:] for change in changes):
            if change["op"] == "d":
                rows.discard(change["before"]["user_id"])
            else:
                rows.add(change["after"]["user_id"])
        assert rows == expected


def test_changes_between_snapshot_and_start_arrive_once(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
            while not stop.is_set():
                connection.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: admin.execute("select count(*) > 100 from users").fetchone() == (True,))
        setup(settings)
        with running(settings) as state:
            until(lambda: state.changes > 200)
            stop.set()
            writer.join()
            covered(state, flushed(admin))
    finally:
        stop.set()
        writer.join()
    ids = [change["after"]["user_id"] for changes in transactions(settings) for change in changes]
    assert len(ids) == len(set(ids))
    assert {(i,) for i in ids} == set(admin.execute("select user_id::text from users").fetchall())


def test_key_changes_toast_truncate_and_new_shapes(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    admin.execute("create table doc (id int primary key, body text)")
    admin.execute("create table full_doc (id int primary key, body text, note text)")
    admin.execute("alter table full_doc replica identity full")
    for table in ("doc", "full_doc"):
        admin.execute(f"alter table {table} alter body set storage external")
    own = for_tables(settings, "doc", "full_doc")
    setup(own)
    with running(own) as state:
        for statement in (
            "insert into doc values (1, repeat('x', 9000))",
            "update doc set id = 2",
            "insert into full_doc values (1, repeat('y', 9000), 'a')",
            "update full_doc set note = 'b'",
            "alter table doc add column extra date default '2026-05-06'",
            "insert into doc values (3, 'later')",
            "alter table doc drop column body",
            "update doc set extra = null where id = 3",
            "truncate doc, full_doc",
        ):
            admin.execute(statement)
        covered(state, flushed(admin))
    changes = [change for changes in transactions(own) for change in changes]
    assert [(c["op"], c["source"]["table"], c["before"], c["after"]) for c in changes] == [
        ("c", "doc", None, {"id": 1, "body": "x" * 9000}),
        ("d", "doc", {"id": 1}, None),
        ("c", "doc", None, {"id": 2, "body": UNAVAILABLE}),
        ("c", "full_doc", None, {"id": 1, "body": "y" * 9000, "note": "a"}),
        (
            "u",
            "full_doc",
            {"id": 1, "body": "y" * 9000, "note": "a"},
            {"id": 1, "body": "y" * 9000, "note": "b"},
        ),
        ("c", "doc", None, {"id": 3, "body": "later", "extra": 20579}),
        ("u", "doc", None, {"id": 3, "extra": None}),
        ("t", "doc", None, None),
        ("t", "full_doc", None, None),
    ]


def test_a_commit_that_publishes_nothing_is_covered_within_milliseconds(
    settings: Settings, admin: psycopg.Connection[Any]
) -> None:
    admin.execute("create table aside (n int)")
    setup(settings)
    waits = []
    with running(settings) as state:
        covered(state, flushed(admin))
        for _ in range(20):
            admin.execute("insert into aside values (1)")
            token, began = flushed(admin), time.monotonic()
            while state.published < token:
                assert time.monotonic() < began + DEADLINE_S
                time.sleep(0.0005)
            waits.append(time.monotonic() - began)
            time.sleep(0.03)
        until(lambda: state.outstanding == 0)
        assert sorted(waits)[10] < 0.05, waits
        beats = state.heartbeats
        with Catalog(settings.postgres.admin.get_secret_value()) as catalog:
            slot = until(lambda: (found := catalog.slot(settings.relay.slot)) and found.confirmed >= token and found)
        assert slot.active_pid is not None
    assert beats >= 20
    assert read_tail(settings.kafka).position is not None


@contextmanager
def process(settings: Settings, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`relay run` as a process of its own; killed at the end."""
    environment = {
        **os.environ,
        "LOCKSTEP_POSTGRES__RELAY": settings.postgres.relay.get_secret_value(),
        "LOCKSTEP_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "LOCKSTEP_KAFKA__TOPIC": settings.kafka.topic,
        "LOCKSTEP_RELAY__SLOT": settings.relay.slot,
        "LOCKSTEP_RELAY__PUBLICATION": settings.relay.publication,
        "LOCKSTEP_RELAY__METRICS_PORT": "0",
    }
    with (folder / "relay.log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "command_api.relay", "run"], env=environment, stderr=log, stdout=log
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait(DEADLINE_S)


def test_killed_at_any_moment_no_transaction_is_lost_or_doubled(
    settings: Settings, admin: psycopg.Connection[Any], tmp_path: Path
) -> None:
    setup(settings)
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
            while not stop.is_set():
                connection.execute(
                    "insert into users (user_id, name) select gen_random_uuid(), 'x' from generate_series(1, 20)"
                )
                time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for round_ in range(8):
            with process(settings, tmp_path):
                grows(settings, log_length(settings))
                time.sleep(0.05 * round_)
    finally:
        stop.set()
        writer.join()
    with running(settings) as state:
        covered(state, flushed(admin))
    ids = [change["after"]["user_id"] for changes in transactions(settings) for change in changes]
    assert len(ids) == len(set(ids))
    assert {(i,) for i in ids} == set(admin.execute("select user_id::text from users").fetchall())


def test_sigterm_leaves_everything_confirmed(
    settings: Settings, admin: psycopg.Connection[Any], tmp_path: Path
) -> None:
    setup(settings)
    with process(settings, tmp_path) as relay:
        admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
        token = flushed(admin)
        until(lambda: confirmed(settings) >= token or log_length(settings) > 4)
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(DEADLINE_S) == 0
    with Catalog(settings.postgres.admin.get_secret_value()) as catalog:
        slot = catalog.slot(settings.relay.slot)
    assert slot is not None
    assert slot.confirmed >= token
    assert "stopped" in (tmp_path / "relay.log").read_text()


def test_a_connection_cut_by_postgres_is_made_again(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    setup(settings)
    with running(settings) as state:
        for sessions in (1, 2, 3):
            streams(state, sessions)
            admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
            covered(state, flushed(admin))
            admin.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s",
                (settings.relay.slot,),
            )
        streams(state, 4)
        assert (state.errors, state.last_error_at > 0) == (3, True)
    assert len([changes for changes in transactions(settings) if changes]) == 3


def test_a_second_relay_waits_for_the_slot(settings: Settings) -> None:
    setup(settings)
    with running(settings):
        state, stop = RelayState(), threading.Event()
        second = threading.Thread(target=loop.run, args=(settings, state, stop))
        second.start()
        until(lambda: "active" in state.last_error)
        assert not state.streaming
        stop.set()
        second.join(DEADLINE_S)
        assert not second.is_alive()


def _refused(settings: Settings, error: type[StoppedError], words: str) -> None:
    with pytest.raises(error, match=words):
        loop.run(settings, RelayState(), threading.Event())


def test_what_does_not_fit_stops_the_relay(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    _refused(settings, SetupError, "publication|slot.*relay setup")
    setup(settings)
    kafka = settings.kafka
    missing = settings.model_copy(update={"kafka": kafka.model_copy(update={"topic": f"{kafka.topic}-missing"})})
    _refused(missing, SetupError, "is missing.*relay setup")
    assert "missing" in read_status(missing).problem
    wide = f"{kafka.topic}-wide"
    client = AdminClient(kafka.client_properties())
    client.create_topics([NewTopic(wide, num_partitions=2)])[wide].result(10)
    try:
        _refused(
            settings.model_copy(update={"kafka": kafka.model_copy(update={"topic": wide})}), SetupError, "2 partitions"
        )
    finally:
        client.delete_topics([wide])[wide].result(10)

    ahead = int(flushed(admin))
    with running(settings) as state:
        admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
        covered(state, flushed(admin))
    admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'y')")
    moved = admin.execute(
        "select end_lsn::text from pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())", (settings.relay.slot,)
    ).fetchone()
    assert moved is not None
    assert Lsn.parse(moved[0]) > ahead
    _refused(settings, HistoryError, "ahead of the log.*lost.*new topic")
    with Catalog(settings.postgres.admin.get_secret_value()) as catalog:
        drop_slot(catalog, settings.relay.slot)
    _refused(settings, HistoryError, "missing, though the log goes up to.*new topic")
    with pytest.raises(HistoryError, match="new topic"):
        setup(settings)


@pytest.mark.parametrize("history", ["1/1", "{system}/9"])
def test_another_history_stops_the_relay(settings: Settings, admin: psycopg.Connection[Any], history: str) -> None:
    report = setup(settings)
    (system,) = admin.execute("select system_identifier::text from pg_control_system()").fetchone() or ("",)
    producer = Producer(settings.kafka.client_properties())
    beat = envelope.heartbeat(report.position, 1, history.format(system=system))
    producer.produce(settings.kafka.topic, beat, b"{}", 0)
    producer.flush(10)
    _refused(settings, HistoryError, "new topic")


def test_a_table_that_can_not_be_captured_is_refused(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    admin.execute("create table keyless (n int)")
    admin.execute("create table indexed (id int primary key, n int not null unique)")
    admin.execute("alter table indexed replica identity using index indexed_n_key")
    for table, words in (
        ("keyless", "no primary key"),
        ("indexed", "REPLICA IDENTITY DEFAULT"),
        ("nowhere", "migrations"),
    ):
        with pytest.raises(SetupError, match=words):
            setup(for_tables(settings, table))


def test_a_long_unfinished_end_of_the_log_is_read_over(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    report = setup(settings)
    producer = Producer({**settings.kafka.client_properties(), "queue.buffering.max.messages": 1_000_000})
    change = json.dumps({"before": None, "after": {"id": 1}, "op": "c", "ts_ms": 1, "source": {"table": "t"}}).encode()
    producer.produce(settings.kafka.topic, envelope.begin(b"1:1", 1), b"{}", 0)
    for _ in range(200_000):
        producer.produce(settings.kafka.topic, change, b"{}", 0)
    producer.flush(30)
    tail = read_tail(settings.kafka)
    assert (tail.position, tail.unfinished) == (report.position, 200_001)
    admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
    with running(settings) as state:
        covered(state, flushed(admin))
    assert len(transactions(settings)[-1]) == 1


def test_a_record_that_is_too_large_stops_the_relay_and_confirms_nothing_after_it(
    settings: Settings, admin: psycopg.Connection[Any]
) -> None:
    small = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"max_message_bytes": 1_000_000})})
    setup(small)
    admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'first')")
    admin.execute("insert into users (user_id, name) values (gen_random_uuid(), repeat('x', 2000000))")
    admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'last')")
    _refused(small, SetupError, "larger than kafka.max_message_bytes.*Raise")
    setup(settings)  # raises the topic's limit
    with running(settings) as state:
        covered(state, flushed(admin))
    names = [change["after"]["name"][:5] for changes in transactions(settings) for change in changes]
    assert names == ["first", "xxxxx", "last"]


def test_a_refused_delivery_confirms_nothing_after_it(settings: Settings, stack: Any) -> None:
    """The broker refuses a batch that the client thinks small enough: the topic's limit is below the producer's."""
    client = AdminClient(settings.kafka.client_properties())
    narrow = f"{settings.kafka.topic}-narrow"
    client.create_topics([NewTopic(narrow, num_partitions=1, config={"max.message.bytes": "20000"})])[narrow].result(10)
    own = settings.kafka.model_copy(update={"topic": narrow})
    publisher = Publisher(own, confirmed=1)
    try:
        publisher.publish(None, b"small")
        publisher.mark(2)
        assert publisher.flush(DEADLINE_S)
        publisher.publish(None, b"x" * 50_000)
        publisher.mark(3)
        for lsn in range(4, 50):
            publisher.publish(None, b"small")
            publisher.mark(lsn)
        with pytest.raises(StoppedError, match="max_message_bytes"):
            publisher.flush(DEADLINE_S)
        assert publisher.confirmed == 2
        with pytest.raises(StoppedError):
            publisher.service()
    finally:
        publisher.close(0.1)
        client.delete_topics([narrow])[narrow].result(10)


def test_without_kafka_the_relay_waits_and_postgres_hears_from_it(settings: Settings) -> None:
    setup(settings)
    gone = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:9"})})
    state, stop = RelayState(), threading.Event()
    thread = threading.Thread(target=loop.run, args=(gone, state, stop))
    thread.start()
    try:
        until(lambda: state.errors >= 1)
        assert "log" in state.last_error
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_the_metrics_and_health_are_served(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    import httpx

    setup(settings)
    with running(settings) as state:
        server = MetricsServer(state, "127.0.0.1", 0)
        try:
            base = f"http://127.0.0.1:{server.port}"
            admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
            covered(state, flushed(admin))
            until(lambda: "relay_transactions_total 1.0" in httpx.get(f"{base}/metrics").text)
            assert httpx.get(f"{base}/healthz").status_code == 200
            state.streaming = False
            assert httpx.get(f"{base}/healthz").status_code == 503
            state.streaming = True
        finally:
            server.close()


def test_a_large_transaction_passes_in_flat_memory(
    settings: Settings, admin: psycopg.Connection[Any], tmp_path: Path
) -> None:
    rows = 200_000
    setup(settings)
    with process(settings, tmp_path) as relay:
        until(lambda: "streaming" in (tmp_path / "relay.log").read_text())
        before = _resident_mb(relay.pid)
        admin.execute(
            "insert into users (user_id, name) select gen_random_uuid(), repeat('x', 200) from generate_series(1, %s)",
            (rows,),
        )
        token, peak = flushed(admin), 0.0
        deadline = time.monotonic() + 120
        while confirmed(settings) < token:
            peak = max(peak, _resident_mb(relay.pid))
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert peak - before < 150, (before, peak)
    assert len(transactions(settings)[-1]) == rows


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def test_an_unreachable_postgres_is_waited_for(settings: Settings) -> None:
    conninfo = make_conninfo(settings.postgres.relay.get_secret_value(), port="9", host="127.0.0.1")
    gone = settings.model_copy(
        update={"postgres": settings.postgres.model_copy(update={"relay": type(settings.postgres.relay)(conninfo)})}
    )
    state, stop = RelayState(), threading.Event()
    thread = threading.Thread(target=loop.run, args=(gone, state, stop))
    thread.start()
    until(lambda: state.errors >= 2)
    stop.set()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_positions_in_the_log_only_rise(settings: Settings, admin: psycopg.Connection[Any]) -> None:
    setup(settings)
    for _ in range(3):
        with running(settings) as state:
            admin.execute("insert into users (user_id, name) values (gen_random_uuid(), 'x')")
            covered(state, flushed(admin))
    positions = [position(envelope.decode(json.dumps(value).encode())) for value in log_records(settings)]
    found = [lsn for lsn in positions if lsn is not None]
    assert found == sorted(set(found))
