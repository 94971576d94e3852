"""A read model built anew beside itself: killed builds and commands, two at once, one that differs, the way back, drops."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from random import Random
from uuid import UUID, uuid4

import psycopg
import pytest
from cassandra.cluster import Session
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from command_api.process.settings import Settings
from command_api.tables import orders
from projections.cassandra_table import cassandra_table, write_timestamp
from projections.generations import State
from projections.orders import ORDER_BY_ID
from projector.apply.log import LogReader
from tests.e2e import compare
from tests.e2e.generations import Registers, building, refused, run
from tests.e2e.pipeline import Pipeline, wait_for

NAME = ORDER_BY_ID.name
SECOND = f"{NAME}__g2"
ORDERS = 3_000
MODELS = (ORDER_BY_ID,)
LATER = (replace(ORDER_BY_ID, select=ORDER_BY_ID.select.where(orders.c.region != "")),)

_MORE = """
    with u as (insert into users (user_id, name) values (%s, 'Ada') returning user_id)
    insert into orders (order_id, user_id, status, region, created_at)
    select gen_random_uuid(), user_id, 'placed', 'eu', timestamptz '2024-03-01' + i * interval '1 min'
    from u, generate_series(1, %s) i
"""


class Place:
    """A path with orders in it and a steady worker over one read model."""

    def __init__(self, pipeline: Pipeline, session: Session) -> None:
        # Small batches: a build takes its time, and may be killed in the middle.
        pipeline.settings = pipeline.with_settings(
            projector={"read_models": "tests.e2e.test_generations:MODELS", "max_batch_changes": 50}
        )
        self.pipeline = pipeline
        self.session = session
        self.settings: Settings = pipeline.settings
        self.registers = Registers(session, pipeline.settings)
        self.admin = pipeline.settings.postgres.admin.get_secret_value()
        pipeline.set_up()
        for _ in range(10):
            self.write(ORDERS // 10)

    def write(self, orders: int) -> None:
        """Some orders more, in one transaction."""
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(_MORE, (uuid4(), orders))

    def rows(self, table: str) -> set[UUID]:
        """Keys of the rows that a table has."""
        found = self.session.execute(f'SELECT order_id FROM "{self.settings.cassandra.keyspace}"."{table}"')
        return {row.order_id for row in found}

    def expected(self) -> set[UUID]:
        """Those that it is to have."""
        with psycopg.connect(self.admin) as connection:
            return {order for (order,) in connection.execute("select order_id from orders")}

    def equal(self, table: str) -> None:
        """Wait until a table has just the rows that it is to have, at the log's end."""
        wanted, end = self.expected(), compare.flushed(self.admin)

        def covered() -> bool:
            self.pipeline.check()
            position = self.registers.positions().get(table)
            return position is not None and position.lsn >= end

        wait_for(f"{table} covers {end}", covered, 60, self.pipeline.logs)
        assert self.rows(table) == wanted

    def other(self, name: str) -> Settings:
        """Settings of a second machine: a replica elsewhere."""
        replica = self.settings.projector.replica.with_name(f"{name}.sqlite")
        return self.pipeline.with_settings(projector={"replica": replica})


@pytest.fixture
def place(pipeline: Pipeline, cassandra_session: Session) -> Place:
    return Place(pipeline, cassandra_session)


@pytest.mark.timeout(400)
def test_a_build_that_is_killed_again_and_again_is_resumed_and_taken_over_without_a_rebuild(place: Place) -> None:
    seed = secrets.randbits(32)
    rng = Random(seed)
    with place.pipeline.running("relay", "projector") as (_, worker):
        place.equal(NAME)
        for kill in range(4):
            build = building(place.pipeline, NAME, log=f"build-{kill}")
            wait_for("it is registered", lambda: 2 in place.registers.of(NAME).generations, 30, build.tail)
            time.sleep(rng.random() * 1.5)  # any moment: of the registering, the filling, the comparison
            build.kill()
            assert place.registers.live(NAME) == [1]
            place.write(20)
        build = building(place.pipeline, NAME, "--then-switch")
        place.registers.wait(NAME, 2, State.VERIFIED, build)
        wait_for("it is switched", lambda: place.registers.live(NAME) == [2], 30, build.tail)
        assert list(place.registers.of(NAME).generations) == [1, 2], f"seed {seed}"
        wait_for(
            "the steady worker takes over", lambda: "takes over what has become live" in worker.said(), 20, worker.tail
        )
        assert build.stop() == 0, build.tail()
        place.write(50)
        place.equal(SECOND)
        assert "built anew" not in worker.said()
        # Nobody follows the one before any more, and a reader is not taken back in time.
        assert "is a worker following it" in refused(place.pipeline, "switch", NAME, "1", "--wait", "1")
        back = building(place.pipeline, NAME, log="build-back")
        wait_for("the way back is open again", lambda: "a generation is followed" in back.said(), 30, back.tail)
        run(place.pipeline, "switch", NAME, "1")
        place.write(50)
        place.equal(NAME)
        assert back.stop() == 0, back.tail()
        run(place.pipeline, "drop", NAME, "2")
        assert SECOND not in place.registers.tables()
        assert SECOND not in place.registers.positions()
        place.write(10)
        place.equal(NAME)


@pytest.mark.timeout(240)
def test_of_two_builds_at_once_the_second_is_refused(place: Place) -> None:
    with place.pipeline.running("relay", "projector"):
        first = building(place.pipeline, NAME)
        wait_for("it is claimed", lambda: "being built" in first.said(), 30, first.tail)
        assert "in use by another worker" in refused(place.pipeline, "build", NAME)
        assert f"generation 2 of {NAME} is being built by" in refused(
            place.pipeline, "build", NAME, settings=place.other("elsewhere")
        )
        place.registers.wait(NAME, 2, State.VERIFIED, first)
        assert list(place.registers.of(NAME).generations) == [1, 2]
        assert first.stop() == 0, first.tail()


@pytest.mark.timeout(240)
def test_what_differs_from_its_sql_is_never_switched_to(place: Place) -> None:
    table = cassandra_table(ORDER_BY_ID, place.settings.cassandra.keyspace, SECOND)
    for statement in table.creation():
        place.session.execute(statement)
    nobody = {"order_id": uuid4(), "user_id": uuid4(), "user_name": "Nobody", "status": "placed", "region": "eu"}
    planted = place.session.prepare(table.insert() + " USING TIMESTAMP ?")
    row = nobody | {"created_at": 0, "version": 1}
    place.session.execute(planted, (*(row[name] for name in table.columns), write_timestamp(1, 1)))
    with place.pipeline.running("relay", "projector"):
        place.equal(NAME)
        build = building(place.pipeline, NAME, "--then-switch")
        assert build.wait(90) == 1, build.tail()
        assert "differ from the SQL" in build.said()
        failed = place.registers.of(NAME).generations[2]
        assert failed.state is State.FAILED
        assert "1 of 3000 rows differ" in failed.reason
        assert place.registers.live(NAME) == [1]
        assert "is failed" in refused(place.pipeline, "switch", NAME, "2")
        assert "no verified generation" in refused(place.pipeline, "switch", NAME)
        assert "differ from the SQL" in run(place.pipeline, "list")
        # The next build is another one; the wrong one can go.
        again = building(place.pipeline, NAME, log="build-again")
        place.registers.wait(NAME, 3, State.VERIFIED, again)
        run(place.pipeline, "drop", NAME, "2")
        assert SECOND not in place.registers.tables()
        run(place.pipeline, "switch", NAME)
        assert place.registers.live(NAME) == [3]
        assert "is the live one" in refused(place.pipeline, "drop", NAME, "3")
        place.write(10)
        place.equal(f"{NAME}__g3")


@pytest.mark.timeout(400)
def test_a_switch_or_a_drop_that_is_killed_is_done_or_not_and_may_be_repeated(place: Place) -> None:
    seed = secrets.randbits(32)
    rng = Random(seed)
    evolved = place.pipeline.with_settings(projector={"read_models": "tests.e2e.test_generations:LATER"})
    with place.pipeline.running("relay", "projector"):  # keeps the first generation for its own declaration
        build = building(place.pipeline, NAME, settings=evolved)
        place.registers.wait(NAME, 2, State.VERIFIED, build)
        for attempt in range(6):
            to = 2 if attempt % 2 == 0 else 1
            switching = place.pipeline.begin(
                "projector", "generations", "switch", NAME, str(to), log=f"switch-{attempt}"
            )
            time.sleep(rng.uniform(0.3, 2.0))  # any moment
            switching.kill()
            assert place.registers.live(NAME)[0] in (1, 2), f"seed {seed}"
            run(place.pipeline, "switch", NAME, str(to))
            assert place.registers.live(NAME) == [to], f"seed {seed}"
            place.write(5)
            place.equal(NAME if to == 1 else SECOND)
        assert build.stop() == 0, build.tail()
        dropping = place.pipeline.begin("projector", "generations", "drop", NAME, "2", log="drop")
        time.sleep(rng.uniform(1.5, 4.0))
        dropping.kill()
        assert place.registers.live(NAME) == [1], f"seed {seed}"
        run(place.pipeline, "drop", NAME, "2")
        assert place.registers.state(NAME, 2) is State.DROPPED
        assert SECOND not in place.registers.tables()
        place.equal(NAME)
        assert "is dropped" in refused(place.pipeline, "switch", NAME, "2")


@pytest.mark.timeout(400)
def test_a_log_that_is_shorter_than_history_is_replayed_from_its_snapshot(place: Place) -> None:
    with place.pipeline.running("projector"):
        with place.pipeline.running("relay"):
            place.equal(NAME)
        end = _end(place.settings)
        place.pipeline.run("command_api.relay", "snapshot", seconds=120)
        client = AdminClient({"bootstrap.servers": place.settings.kafka.bootstrap_servers})
        for cut in client.delete_records([TopicPartition(place.settings.kafka.topic, 0, end)]).values():
            assert cut.result(30).low_watermark == end
        with place.pipeline.running("relay"):
            place.write(20)
            build = building(place.pipeline, NAME, "--then-switch")
            place.registers.wait(NAME, 2, State.VERIFIED, build)
            wait_for("it is switched", lambda: place.registers.live(NAME) == [2], 60, build.tail)
            place.write(20)
            place.equal(SECOND)


def _end(settings: Settings) -> int:
    """The log's end."""
    reader = LogReader(settings.kafka)
    try:
        return reader.bounds()[1]
    finally:
        reader.close()
