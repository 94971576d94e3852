"""A declaration gets columns while the path runs: the table is altered and filled, and nobody takes a null for a value."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import httpx
import pytest
from cassandra.cluster import Session

from tests.e2e.changing import FIRST, LATE, WIDER, Check, Source, ended, releasing
from tests.e2e.pipeline import Pipeline, Process, listening, wait_for
from tests.http_client import HTTP

WARES = 3_000


@pytest.fixture
def source(pipeline: Pipeline) -> Iterator[Source]:
    """The tables, with rows of which each has a note, set up for the first release."""
    releasing(pipeline, "FIRST")
    made = Source(pipeline.settings, secrets.randbits(32), wares=0)
    made.fill(WARES)
    made.usual = {"note": "'noted'"}
    pipeline.set_up()
    yield made
    made.connection.close()


def rows(url: str, name: str, person: int, **headers: str) -> httpx.Response:
    """A read of one partition."""
    return HTTP.get(f"{url}/read/{name}/{person}", params={"limit": 1000}, headers=headers, timeout=20)


def is_filled(worker: Process, name: str) -> bool:
    """Whether a worker has said that it filled the columns of a read model."""
    return any("columns are filled" in line and f'"{name}"' in line for line in worker.said().splitlines())


@pytest.mark.timeout(240)
def test_columns_are_added_and_filled_while_all_is_served(
    pipeline: Pipeline, cassandra_session: Session, source: Source
) -> None:
    check = Check(pipeline, cassandra_session)
    first = pipeline.settings
    with pipeline.running("relay"):
        with pipeline.running("projector"):
            check.equal(FIRST, "at first")
        old = listening(pipeline.start("read-api", log="old-read-api"))
        releasing(pipeline, "WIDER")
        slow = pipeline.with_settings(projector={"slice_keys": 2, "slice_share": 0.05})
        assert "projector setup" in ended(pipeline.start("projector", log="too-soon"))
        answering = pipeline.with_settings(read_api={"fallback_connections": 4})
        new = listening(pipeline.start("read-api", settings=answering, log="new-read-api"))
        pipeline.run("projector", "setup")

        with source.happening():
            worker = pipeline.start("projector", settings=slow)
            wait_for("the fill is under way", lambda: "columns are being filled" in worker.said(), 60, worker.tail)
            sources, seen = set(), 0
            for person in (1, 2, 3, 1, 2, 3):
                assert rows(old, "wares_by_person", person).json()["source"] == "read-model"
                body = rows(new, "wares_by_person", person).json()
                sources.add(body.get("source", str(body)))
                seen += len(body.get("rows", ()))
                assert all(row["note"] is not None for row in body.get("rows", ())), body["source"]
            assert seen, "there were rows"
            assert not is_filled(worker, "wares_by_person"), "the fill was over too soon to see anything"
            assert sources == {"postgres"}
            worker.kill()
            worker = pipeline.start("projector", log="projector-again")
            wait_for("the columns are filled", lambda: is_filled(worker, "wares_by_person"), 60, worker.tail)
        check.equal(WIDER, "filled")
        body = rows(new, "wares_by_person", 1).json()
        assert body["source"] == "read-model"
        assert all(row["note"] is not None for row in body["rows"])
        assert rows(old, "wares_by_person", 1).json()["source"] == "read-model"
        assert worker.stop() == 0

        # The release is taken back, and comes again: what the old one wrote meanwhile is written with the columns.
        taken_back = pipeline.start("projector", settings=first, log="taken-back")
        source.run("update wares set note = 'new note', stock = stock + 1 where person_id = 1")
        check.equal(FIRST, "taken back")
        assert taken_back.stop() == 0
        with pipeline.running("projector"):
            check.equal(WIDER, "come again")
            wait_for(
                "the columns cover it",
                lambda: [row["note"] for row in rows(new, "wares_by_person", 1).json()["rows"][:1]] == ["new note"],
                20,
            )


@pytest.mark.timeout(240)
def test_a_column_that_old_records_lack_waits_for_a_snapshot(
    pipeline: Pipeline, cassandra_session: Session, source: Source
) -> None:
    """Postgres gives every row the default without a word in the stream."""
    check = Check(pipeline, cassandra_session)
    first = pipeline.settings
    with pipeline.running("relay"):
        with pipeline.running("projector"):
            source.run("alter table wares add column grade int not null default 7")
            source.run("update wares set grade = 8 where ware_id < 50")
            check.equal(FIRST, "at first")
        releasing(pipeline, "LATE")
        pipeline.run("projector", "setup")
        said = ended(pipeline.start("projector", log="late"))
        assert "public.wares.grade" in said
        assert "relay snapshot" in said
    pipeline.run("command_api.relay", "snapshot")
    with pipeline.running("relay"):
        before = pipeline.start("projector", settings=first, log="before")
        source.happen()
        check.equal(FIRST, "the release before")
        assert before.stop() == 0
        with pipeline.running("projector"):
            check.equal(LATE, "with the snapshot")


@pytest.mark.timeout(120)
def test_a_declaration_that_needs_another_table_stops_the_worker(
    pipeline: Pipeline, cassandra_session: Session, source: Source
) -> None:
    check = Check(pipeline, cassandra_session)
    with pipeline.running("relay"):
        with pipeline.running("projector"):
            check.equal(FIRST, "at first")
        releasing(pipeline, "WITHOUT_CODE")
        pipeline.run("projector", "setup")
        said = ended(pipeline.start("projector", log="different"))
        assert "'code' is not selected any more" in said
        assert "projector generations build wares_by_person" in said
