"""Tables change in Postgres while the path runs: what nobody reads is not noticed, what is read stops the worker in time.

In time is: before any row of the change is written. And from each stop there is a way on that ends as the SQL says.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from cassandra.cluster import Session

from tests.e2e.changing import FIRST, Act, Check, Source, ended, releasing
from tests.e2e.pipeline import Pipeline


@pytest.fixture
def source(pipeline: Pipeline) -> Iterator[Source]:
    """The tables, with rows, set up for the first release."""
    releasing(pipeline, "FIRST")
    made = Source(pipeline.settings, secrets.randbits(32))
    pipeline.set_up()
    yield made
    made.connection.close()


def new_table(source: Source) -> None:
    """A table that joins the publication, with rows and changes."""
    source.run("create table extras (extra_id int primary key, body text)")
    source.run(f"alter publication {source.publication} add table extras")
    source.run("grant select on extras to lockstep_relay")
    source.run("insert into extras select i, 'x' from generate_series(1, 100) i")
    source.run("update extras set body = null")


def table_dropped(source: Source) -> None:
    """A table of the publication that comes and goes, its rows with it."""
    source.run("create table gone (gone_id int primary key)")
    source.run(f"alter publication {source.publication} add table gone")
    source.run("insert into gone select generate_series(1, 100)")
    source.run("drop table gone")


def statements(*texts: str) -> Act:
    """Statements, one after the other."""
    return lambda source: [source.run(text) for text in texts] and None


UNREAD: dict[str, Act] = {
    "a column is added": statements(
        "alter table wares add column colour text default 'red'", "update wares set colour = 'blue' where ware_id < 9"
    ),
    "a column is dropped": statements("alter table wares drop column spare"),
    "a column is renamed": statements("alter table wares rename column note to remark"),
    "a column is of another type": statements("alter table wares alter column remark type int using 1"),
    "a table joins the publication": new_table,
    "a table of the publication is dropped": table_dropped,
}
WIDENED: dict[str, Act] = {
    "a numeric has more digits": statements(
        "alter table wares alter column price type numeric(12,2)",
        "update wares set price = 1234567890.12 where ware_id < 5",
    ),
    "a text is longer": statements(
        "alter table wares alter column code type text", "update wares set code = repeat('c', 300) where ware_id < 5"
    ),
    "an integer is wider, and its values still fit": statements(
        "alter table wares alter column stock type bigint",
        "update wares set stock = 2147483647 where ware_id = 1",
        "update wares set stock = 2147000000 where ware_id = 1",  # what happens next adds to it
    ),
    "an enum has one more value": statements(
        "alter type ware_state add value 'broken'", "update wares set state = 'broken' where ware_id < 5"
    ),
}


@pytest.mark.timeout(120)
def test_what_nobody_reads_and_what_is_wider_needs_no_restart(
    pipeline: Pipeline, cassandra_session: Session, source: Source
) -> None:
    check = Check(pipeline, cassandra_session)
    with pipeline.running("relay", "projector"):
        check.equal(FIRST, "at first")
        for what, act in (UNREAD | WIDENED).items():
            with source.happening():
                pass
            act(source)
            for _ in range(30):
                source.happen()
            check.equal(FIRST, what)


READ: dict[str, tuple[Act, Act, tuple[str, ...]]] = {
    # what happens, how it is undone, and what the worker has to say of it
    "a column is renamed": (
        statements("alter table wares rename column code to code_2"),
        statements("alter table wares rename column code_2 to code"),
        ("public.wares.code", "log offset", "relay snapshot"),
    ),
    "a column is dropped and added again before anything happens": (
        statements(
            "alter table wares drop column code", "alter table wares add column code varchar(20) default 'anew'"
        ),
        statements(),
        ("public.wares.code", "another column", "log offset", "relay snapshot"),
    ),
    "two columns change their names": (
        statements(
            "alter table wares rename column code to spare_2",
            "alter table wares rename column spare to code",
            "alter table wares rename column spare_2 to spare",
        ),
        statements(),
        ("public.wares.code", "another column", "log offset", "relay snapshot"),
    ),
    "a column is of another type": (
        statements("alter table wares alter column stock type text"),
        statements("alter table wares alter column stock type int using stock::int"),
        ("public.wares.stock", "log offset", "relay snapshot"),
    ),
    "a timestamp is one with a time zone": (
        statements("alter table wares alter column made_at type timestamptz"),
        statements("alter table wares alter column made_at type timestamp"),
        ("public.wares.made_at", "log offset", "relay snapshot"),
    ),
    "an integer no longer fits": (
        statements(
            "alter table wares alter column stock type bigint", "update wares set stock = 3000000000 where ware_id = 1"
        ),
        statements(
            "update wares set stock = 3 where stock > 2147483647", "alter table wares alter column stock type int"
        ),
        ("public.wares.stock", "log offset", "relay snapshot"),
    ),
    "a numeric has more digits after the point": (
        statements(
            "alter table wares alter column price type numeric(12,4)",
            "update wares set price = 1.2345 where ware_id = 1",
        ),
        statements("alter table wares alter column price type numeric(10,2)"),
        ("public.wares.price", "log offset", "relay snapshot"),
    ),
    "the primary key is another": (
        statements(
            "alter table wares drop constraint wares_pkey",
            "alter table wares add column other bigserial",
            "alter table wares add primary key (other)",
            "delete from wares where ware_id in (select min(ware_id) from wares)",
        ),
        statements("alter table wares drop constraint wares_pkey", "alter table wares add primary key (ware_id)"),
        ("public.wares.ware_id", "log offset", "relay snapshot"),
    ),
}


@pytest.mark.timeout(300)
def test_what_is_read_stops_the_worker_before_a_wrong_row(
    pipeline: Pipeline, cassandra_session: Session, source: Source
) -> None:
    check = Check(pipeline, cassandra_session)
    wares = FIRST[0]
    for what, (act, undo, told) in READ.items():
        with pipeline.running("relay"):
            worker = pipeline.start("projector")
            source.happen()
            check.equal(FIRST, f"before {what}")
            before = check.rows(wares)
            act(source)
            source.run("update wares set made_at = made_at + interval '1 s' where ware_id between 100 and 120")
            source.run("delete from wares where ware_id = (select max(ware_id) from wares)")
            said = ended(worker)
            assert all(text in said for text in told), f"{what}: {said}"
            assert check.rows(wares) == before, f"{what}: rows were written"
            undo(source)
        pipeline.run("command_api.relay", "snapshot")
    with pipeline.running("relay", "projector"):
        source.happen()
        check.equal(FIRST, "after all of them and back")


@pytest.mark.timeout(90)
def test_a_relay_that_was_away_reads_of_tables_as_they_were(
    pipeline: Pipeline, cassandra_session: Session, source: Source
) -> None:
    """What it sends on is of then, while the catalog says what is now."""
    check = Check(pipeline, cassandra_session)
    with pipeline.running("projector"):
        source.run("create table gone (gone_id int primary key, at timestamptz)")
        source.run(f"alter publication {source.publication} add table gone")
        for act in (
            statements("insert into gone select i, now() from generate_series(1, 100) i", "drop table gone"),
            *(UNREAD | WIDENED).values(),
        ):
            source.happen()
            act(source)
        with pipeline.running("relay"):
            check.equal(FIRST, "after the relay was away")
