"""A feed and a read model in time buckets through two releases: a column is added and filled, then other tables are switched to.

Among the feed's readers are some whom nobody has seen for long; one of them is back while the column is being filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from cassandra.cluster import Session

from command_api import months
from projections.fan_out import skipped_table
from projections.generations import State
from tests.e2e import compare
from tests.e2e.feed_releases import CHANGED, WIDER, Told, Town, read, releasing
from tests.e2e.generations import Registers, building, run
from tests.e2e.pipeline import Pipeline, listening, wait_for
from tests.integration.test_commands_messages import id_at

CHANNEL = "00000000-0000-7000-8000-000000000001"
DROPPED = ("feed", "messages_by_channel")
DAYS = (1, 3, 12, 14, 35, 36)  # buckets are of ten


@pytest.fixture
def town(pipeline: Pipeline) -> Iterator[Town]:
    made = Town(pipeline, posts=30)
    for n in (0, 1):
        months.create(made.connection, months.month_after(date(2024, 1, 1), n))
    made.run("insert into channels (channel_id, name) values (%s, 'general')", CHANNEL)
    for number, day in enumerate(DAYS):
        each = id_at(datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day), number)
        made.run(
            "insert into messages (message_id, sent_at, channel_id, author_id, body)"
            " values (%s, uuid_extract_timestamp(%s), %s, %s, %s)",
            *(each, each, CHANNEL, made.star, "" if number == 1 else f"message {number}"),
        )
    yield made
    made.connection.close()


def messages(town: Town, *, bare: bool = True) -> list[str]:
    """The ids that the channel is to have."""
    query = "select message_id::text from messages where %s or body <> '' order by message_id desc"
    return [each for (each,) in town.connection.execute(query, (bare,))]


@pytest.mark.timeout(300)
def test_a_feed_gets_a_column_and_then_other_tables_while_readers_are_away_and_come_back(
    pipeline: Pipeline, cassandra_session: Session, town: Town
) -> None:
    releasing(pipeline, "FIRST")
    keyspace = pipeline.settings.cassandra.keyspace
    pipeline.set_up()
    registers = Registers(cassandra_session, pipeline.settings)

    def skipped(table: str = "feed") -> set[str]:
        rows = cassandra_session.execute(f'SELECT reader FROM "{keyspace}"."{skipped_table(table)}"')
        return {str(row.reader) for row in rows}

    def copied(table: str = "feed") -> set[tuple[str, str, int]]:
        rows = cassandra_session.execute(f'SELECT user_id, post_id, version FROM "{keyspace}"."{table}"')
        return {(str(row.user_id), str(row.post_id), row.version) for row in rows}

    def covered() -> None:
        end, projection = compare.flushed(town.conninfo), pipeline.settings.projector.projection
        compare.wait_covered(cassandra_session, keyspace, projection, WIDER, end, seconds=60, pipeline=pipeline)

    def feed(url: str, reader: object) -> Told:
        return read(url, f"feed/{reader}", town.conninfo)

    def followed(url: str, sources: set[str], *, bare: bool) -> None:
        """Wait until an API answers from there; then it tells what the SQL does."""
        path = f"messages_by_channel/{CHANNEL}"
        wait_for(f"{url} answers from {sources}", lambda: read(url, path, town.conninfo).sources == sources, 60)
        for reader in (town.both, town.fan, town.away):
            told = feed(url, reader)
            assert (told.sources, told.posts) == (sources, town.feed(reader, bare=bare))
        told = read(url, path, town.conninfo, 2)
        assert ([row["message_id"] for row in told.rows], told.sources) == (messages(town, bare=bare), sources)

    with pipeline.running("relay"):
        with pipeline.running("projector"):
            covered()
        assert skipped() == {str(town.away), str(town.gone)}

        # A column is added, and its fill is killed and goes on; a reader comes back meanwhile.
        town.run("update posts set version = 7")
        releasing(pipeline, "WIDER")
        pipeline.run("projector", "setup")
        slow = pipeline.with_settings(projector={"slice_keys": 1, "slice_share": 0.02})
        before = listening(pipeline.start("read-api", log="read-api-before"))
        told = feed(before, town.away)
        assert ("postgres" in told.sources, told.posts) == (True, town.feed(town.away))
        assert {row["version"] for row in told.rows} == {7}
        worker = pipeline.start("projector", settings=slow, log="filling")
        wait_for("the fill is under way", lambda: "columns are being filled" in worker.said(), 60, worker.tail)
        worker.kill()
        town.post(town.other)
        worker = pipeline.start("projector", log="steady")
        end = compare.flushed(town.conninfo)
        for column in ("feed.version", "pull.version"):
            wait_for(f"{column} is filled", lambda of=column: registers.positions()[of].lsn >= end, 60, worker.tail)

        def returned() -> bool:
            feed(before, town.away)  # as who is back does: a read while the column is filled asks for no copies
            return skipped() == {str(town.gone)}

        wait_for("who came back has copies", returned, 60, worker.tail)
        covered()
        wanted = {
            (str(reader), post, version)
            for reader in (town.both, town.away)
            for post, version in town.connection.execute(
                "select post_id::text, version from posts where author_id = %s", (town.other,)
            )
        }
        assert copied() == wanted, "those of a hot author, and of who is away, are not copied"
        for reader in (town.both, town.fan, town.away):
            told = feed(before, reader)
            assert (told.sources, told.posts) == ({"read-model"}, town.feed(reader))
            assert all(row["version"] is not None for row in told.rows)

        # Other declarations: their generations are built beside, switched to and gone on with.
        town.post(town.other, "")
        town.post(town.star, "")
        releasing(pipeline, "LATER")
        after = listening(pipeline.start("read-api", log="read-api-after"))
        assert feed(after, town.both).sources == {"postgres"}
        build = building(pipeline, *CHANGED, "--then-switch")
        for name in CHANGED:
            registers.wait(name, 2, State.VERIFIED, build)
        wait_for("all are switched", lambda: registers.live(*CHANGED) == [2] * len(CHANGED), 60, build.tail)
        assert worker.status is None, worker.tail()
        followed(before, {"postgres"}, bare=True)  # it does not know that declaration
        followed(after, {"read-model"}, bare=False)
        assert worker.stop() == 0, worker.tail()
        assert build.stop() == 0, build.tail()
        with pipeline.running("projector") as (successor,):
            town.post(town.other)
            town.post(town.star)
            town.run("delete from messages where message_id = (select max(message_id::text)::uuid from messages)")
            for name in DROPPED:
                run(pipeline, "drop", name, "1")
            followed(after, {"read-model"}, bare=False)
            told = feed(after, town.gone)
            assert ("postgres" in told.sources, told.posts) == (True, town.feed(town.gone, bare=False))
            assert "rebuilt from the log" not in successor.said()
            pipeline.run("projector", "verify", "--all", seconds=90)
    assert not {f"{name}{beside}" for name in DROPPED for beside in ("", "__hot", "__skipped")} & registers.tables()
    assert not [name for name in registers.positions() if name.partition(".")[0] in DROPPED]
