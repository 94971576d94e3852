"""Images of rows that only came: as those of rows that were there before, whichever of them a batch has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgspec
import pytest

from command_api.envelope import Record, Source
from projections.orders import ORDERS_BY_USER
from projector.compile.names import images_name, replica_name
from projector.compile.program import compile_models
from projector.replica.bulk import ROWS, Bulk
from projector.replica.images import Images
from projector.replica.schema import open_replica

PROGRAM = compile_models((ORDERS_BY_USER,))


@pytest.fixture
def replica() -> Iterator[sqlite3.Connection]:
    connection = open_replica(None, PROGRAM, "test")
    yield connection
    connection.close()


def user(number: int, name: str) -> Record:
    row = {"user_id": f"{number:036}", "name": name}
    return Record(op="c", after=msgspec.Raw(msgspec.json.encode(row)), source=Source(table="users"))


def taken(images: Images, replica: sqlite3.Connection, changes: list[Record]) -> list[tuple[str, str, int]]:
    images.clear()
    images.add(changes)
    images.flush()
    found = replica.execute(f"SELECT * FROM {images_name('users')} ORDER BY 1, 3").fetchall()
    return [(user_id.lstrip("0"), name, weight) for user_id, name, weight in found]


@pytest.mark.parametrize("there", [1, ROWS, ROWS + 1, 2 * ROWS, 2 * ROWS + 5])
def test_one_row_that_was_there_is_seen_among_many_that_were_not(there: int, replica: sqlite3.Connection) -> None:
    images = Images(replica, PROGRAM)
    assert taken(images, replica, [user(there, "before")]) == [(str(there), "before", 1)]
    numbers = range(1, 2 * ROWS + 6)
    found = taken(images, replica, [user(number, "after") for number in numbers])
    assert [row for row in found if row[2] < 0] == [(str(there), "before", -1)]
    assert sorted(int(key) for key, name, weight in found if (name, weight) == ("after", 1)) == list(numbers)
    names = replica.execute(f"SELECT name, count(*) FROM {replica_name('users')} GROUP BY name").fetchall()
    assert names == [("after", len(numbers))]


def test_rows_that_were_not_there_have_one_image_each(replica: sqlite3.Connection) -> None:
    images = Images(replica, PROGRAM)
    assert taken(images, replica, [user(1, "one"), user(2, "two")]) == [("1", "one", 1), ("2", "two", 1)]
    assert taken(images, replica, [user(3, "three")]) == [("3", "three", 1)]


@pytest.mark.parametrize("count", [0, 1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 3])
def test_a_query_finds_any_of_its_rows(count: int) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE known (a, b)")
    query = Bulk(
        connection, "SELECT 1 FROM (VALUES {rows}) AS k CROSS JOIN known ON a = k.column1 AND b = k.column2", 2
    )
    rows = [(number, -number) for number in range(count)]
    assert not query.finds(rows)
    for number in range(count):
        connection.execute("DELETE FROM known")
        connection.execute("INSERT INTO known VALUES (?, ?)", (number, -number))
        assert query.finds(rows)
