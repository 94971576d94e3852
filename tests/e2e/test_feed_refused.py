"""Rows of a feed, of what is merged into it and of a scheduled read model that Cassandra refuses: told to whom they concern.

Then the feed gets a table of its own that takes them, and with the old one its marks are gone.
"""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from cassandra.cluster import Session

from projections.added_columns import is_of
from projections.cassandra_table import cassandra_table
from projections.dead_letters import DEAD_LETTERS
from projections.generations import State
from tests.e2e import compare
from tests.e2e.feed_releases import FEED, FIRST, PULL, REPORT, Town, read, releasing
from tests.e2e.generations import Registers, building, run
from tests.e2e.pipeline import Pipeline, listening, wait_for

ODD = "é"  # which the columns of this test do not take


def takes_ascii(session: Session, keyspace: str) -> None:
    """Have the tables in Cassandra take less than their declarations say."""
    for model in (FEED, PULL, REPORT):
        table = cassandra_table(model, keyspace)
        session.execute(f"DROP TABLE {table.qualified}")
        session.execute(table.create().replace('"body" text', '"body" ascii'))


class Marks:
    """What is marked in Cassandra."""

    def __init__(self, session: Session, pipeline: Pipeline) -> None:
        self._session, self._settings = session, pipeline.settings

    def of(self, table: str) -> set[str]:
        """The first key columns of what a table lacks."""
        rows = self._session.execute(
            f'SELECT read_model, key FROM "{self._settings.cassandra.keyspace}"."{DEAD_LETTERS}"'
            " WHERE projection = %s AND read_model = %s",
            (self._settings.projector.projection, table),
        )
        return {json.loads(row.key)[0] for row in rows}


@pytest.mark.timeout(240)
def test_who_reads_what_lacks_rows_is_answered_by_postgres_and_marks_go_with_their_generation(
    pipeline: Pipeline, cassandra_session: Session
) -> None:
    releasing(pipeline, "FIRST")
    settings = pipeline.settings
    keyspace = settings.cassandra.keyspace
    pipeline.set_up()
    takes_ascii(cassandra_session, keyspace)
    town, marks = Town(pipeline), Marks(cassandra_session, pipeline)
    both, away, star, other = (str(of) for of in (town.both, town.away, town.star, town.other))
    with town.connection, pipeline.running("relay", "projector", "read-api") as (_, worker, reads):
        url = listening(reads)

        def shown(reader: UUID, source: str, *lacking: str) -> None:
            told = read(url, f"feed/{reader}", town.conninfo)
            assert told.posts == town.feed(reader)
            assert (told.sources, told.dead_letters) == ({source}, set(lacking))

        def covered() -> None:
            end = compare.flushed(town.conninfo)
            compare.wait_covered(
                cassandra_session, keyspace, settings.projector.projection, FIRST, end, seconds=60, pipeline=pipeline
            )

        shown(town.both, "read-model")
        town.post(town.other, ODD)
        covered()
        assert (marks.of("feed"), marks.of("pull")) == ({both}, {other})
        shown(town.both, "postgres", "feed")
        shown(town.fan, "read-model")
        town.post(town.star, ODD)
        covered()
        assert marks.of("feed") == {both}, "a hot author's posts are not copied"
        assert marks.of("pull") == {other, star}
        shown(town.fan, "postgres", "pull")
        # Who comes back is owed the row that was refused to others.
        told = read(url, f"feed/{away}", town.conninfo)
        assert (told.posts, told.sources) == (town.feed(town.away), {"postgres"})
        wait_for("the feed is written, but for a row", lambda: marks.of("feed") == {both, away}, 60, worker.tail)
        # What was computed on a schedule is refused as well.
        pipeline.run("projector", "refresh", "report")
        covered()
        assert marks.of("report") == {other, star}
        told = read(url, f"report/{other}", town.conninfo)
        assert (told.sources, told.dead_letters) == ({"postgres"}, {"report"})
        assert [row["body"] for row in told.rows] == [ODD]
        assert "2 rows are not there" in pipeline.run("projector", "verify", "report", seconds=90)

        # Another table takes them.
        build = building(pipeline, "feed", "--then-switch")
        registers = Registers(cassandra_session, settings)
        registers.wait("feed", 2, State.VERIFIED, build)
        wait_for(
            "the steady worker takes over", lambda: "takes over what has become live" in worker.said(), 60, worker.tail
        )
        assert build.stop() == 0, build.tail()
        town.run("update posts set body = 'plain' where author_id = %s and body = %s", town.star, ODD)
        covered_by_feed = compare.flushed(town.conninfo)
        wait_for(
            "the other generation goes on",
            lambda: pipeline.check() and registers.positions()["feed__g2"].lsn >= covered_by_feed,
            30,
            worker.tail,
        )
        shown(town.both, "read-model")
        assert marks.of("pull") == {other}
        assert marks.of("feed") == {both, away}
        assert marks.of("feed__g2") == set()
        run(pipeline, "drop", "feed", "1")
        assert marks.of("feed") == set()
        assert not [name for name in registers.positions() if is_of(name, "feed")]
        assert not {name for name in registers.tables() if name == "feed" or name.startswith("feed___")}

        town.run("update posts set body = 'plain' where body = %s", ODD)
        pipeline.run("projector", "refresh", "report")
        for reader in (town.both, town.fan, town.away):
            shown(reader, "read-model")
        assert not marks.of("pull") | marks.of("report")
        pipeline.run("projector", "verify", "--all", seconds=90)
