"""Debezium's connector in the relay's place: the same projector, every read model equal to its SQL, and the way back."""

from __future__ import annotations

import pathlib
import secrets
import uuid
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import psycopg
import pytest
from cassandra.cluster import Session

from command_api.relay.replication import ReplicationConnection
from command_api.relay.tail import read_tail
from projector.apply.consume import Assembler
from projector.apply.log import LogReader
from projector.apply.transaction import Transaction
from tests.e2e import compare
from tests.e2e.debezium import VIEWS, Connect, streaming
from tests.e2e.pipeline import Pipeline, wait_for
from tests.e2e.transactions import Source
from tests.oracle import schema
from tests.oracle.values import of

TABLES = tuple(schema.METADATA.sorted_tables)
LONG = secrets.token_hex(8_000)  # does not shrink below what Postgres moves out of its row
DOMAINS = {
    **schema.DOMAINS,
    "d": {**schema.DOMAINS["d"], "note": (*schema.DOMAINS["d"]["note"], of(LONG))},
    "u": {**schema.DOMAINS["u"], "payload": (of(b""), of(bytes.fromhex(LONG)))},
}
COPIED = 3_000


class Path:
    """The source, its log and its read models. copied: xids of committed COPYs."""

    def __init__(self, pipeline: Pipeline, session: Session, connection: psycopg.Connection[Any], rng: Random) -> None:
        self.pipeline, self.session, self.connection, self.rng = pipeline, session, connection, rng
        self.admin = pipeline.settings.postgres.admin.get_secret_value()
        self.made = Counter[str]()
        self.copied: list[str] = []
        self._first = 0

    def load(self, transactions: int, *, copies: int = 0) -> None:
        """Random transactions over some tables each, and large ones by COPY, whose rows share their LSNs."""
        for number in range(transactions):
            tables = self.rng.sample(TABLES, self.rng.choice((1, 2, 3, len(TABLES))))
            source = Source(self.connection, tables, DOMAINS, self.rng, {})
            source.transaction()
            self.made += source.made
            if copies and number % (transactions // copies) == 0:
                self.copy()

    def copy(self) -> None:
        """Other rows in the place of those of the COPY before."""
        with self.connection.transaction(), self.connection.cursor() as cursor:
            first = self._first = self._first + COPIED
            with cursor.copy("copy u (id, kind) from stdin") as copy:
                for number in range(first, first + COPIED):
                    copy.write_row((uuid.UUID(int=number), "copied"))
            # Behind the COPY: how many there are is up to the random changes.
            cursor.execute("delete from u where kind = 'copied' and id < %s", (uuid.UUID(int=first),))
            row = cursor.execute("select pg_current_xact_id()::text").fetchone()
        assert row is not None
        self.copied.append(row[0])

    def equal(self, context: str) -> None:
        """Every read model equals its SQL once it covers all that has committed."""
        settings = self.pipeline.settings
        keyspace, projection = settings.cassandra.keyspace, settings.projector.projection
        lsn = compare.flushed(self.admin)
        compare.wait_covered(self.session, keyspace, projection, VIEWS, lsn, seconds=60, pipeline=self.pipeline)
        compare.assert_equal(self.session, keyspace, self.admin, VIEWS, context)

    def handed_on(self) -> Counter[str]:
        """Xids of the log's transactions that add what a COPY does, as often as a reader is given each."""
        found = Counter[str]()
        for done in Assembler(0).feed(self._log()):
            if isinstance(done, Transaction):
                inserts = [change.transaction for change in done.changes if change.op == "c" and change.transaction]
                if len(inserts) == COPIED:
                    found[inserts[0].id.partition(":")[0]] += 1
        return found

    def _log(self) -> Iterator[tuple[int, bytes]]:
        reader = LogReader(self.pipeline.settings.kafka)
        try:
            at, end = reader.bounds()
            reader.open_at(at)
            while at < end:
                records = reader.read(5_000, 5)
                assert records, f"nothing came at offset {at} of {end}"
                yield from records
                at = records[-1][0] + 1
        finally:
            reader.close()


@pytest.fixture
def path(pipeline: Pipeline, cassandra_session: Session) -> Iterator[Path]:
    """A source with rows in it, set up for capture and projection; nothing runs yet."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # pytest shows it with a failure
    pipeline.settings = pipeline.with_settings(
        relay={"metadata": "tests.oracle.schema:METADATA", "tables": tuple(f"public.{t.name}" for t in TABLES)},
        projector={"read_models": "tests.e2e.debezium:VIEWS", "metadata": "tests.oracle.schema:METADATA"},
    )
    with psycopg.connect(pipeline.settings.postgres.admin.get_secret_value(), autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        compare.create_tables(connection, schema.METADATA)
        made = Path(pipeline, cassandra_session, connection, Random(seed))
        made.load(20)
        made.copy()
        made.copied.clear()  # the snapshot has its rows, the log not its transaction
        pipeline.set_up()
        yield made


@pytest.mark.timeout(300)
def test_relay_and_connector_take_each_others_place_and_every_read_model_equals_its_sql(
    path: Path, tmp_path: pathlib.Path
) -> None:
    pipeline = path.pipeline
    with pipeline.running("projector", "heartbeats"):
        relay = pipeline.start("relay")
        path.load(10, copies=1)
        wait_for("the relay streams", lambda: "streaming" in relay.said(), 60, relay.tail)
        relay.kill()
        path.load(10)
        with streaming(pipeline.settings, tmp_path) as connector:
            path.load(60, copies=1)
            path.equal("the connector after a relay that was killed")
            _kill_amid_a_copy(path, connector)
        with streaming(pipeline.settings, tmp_path) as connector:
            path.load(10, copies=1)
            path.equal("the connector after one that was killed")
            _kill_amid_a_copy(path, connector)
        path.load(10)
        with pipeline.running("relay"):
            path.load(10, copies=1)
            path.equal("the relay after a connector that was killed")
    assert set(path.made) >= {"commit", "insert", "update", "key_change", "delete", "truncate"}, path.made
    assert path.handed_on() == Counter(path.copied)
    with ReplicationConnection(path.admin) as connection:
        assert read_tail(pipeline.settings.kafka).history == connection.identify().text


def _kill_amid_a_copy(path: Path, connector: Connect) -> None:
    kafka = path.pipeline.settings.kafka
    reader = LogReader(kafka)
    try:
        path.load(5)
        before = reader.bounds()[1]
        path.copy()
        wait_for("the COPY's rows come into the log", lambda: reader.bounds()[1] > before + COPIED // 2, 30)
        connector.kill()
    finally:
        reader.close()
    path.load(5)
    assert read_tail(kafka).unfinished > COPIED // 10
