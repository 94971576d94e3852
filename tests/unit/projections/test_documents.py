"""Embedded documents as SQL: what prints within an enclosing select(), what survives SQLAlchemy, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    Column,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    Select,
    Table,
    Text,
    Uuid,
    func,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from projections.cassandra_table import cassandra_table
from projections.documents import Embedded, Truncated, embedded, truncation_markers, unlabelled
from projections.read_model import DeclarationError, ReadModel
from projections.values import Kind

METADATA = MetaData()
people = Table("people", METADATA, Column("person_id", Uuid, primary_key=True), Column("name", Text))
homes = Table(
    "homes",
    METADATA,
    Column("home_id", Integer, primary_key=True),
    Column("person_id", Uuid, nullable=False),
    Column("city_id", Integer),
    Column("worth", Numeric(12, 2)),
    *(
        Column(name, kind)
        for name, kind in {"f": Float(), "x": LargeBinary(), "j": JSONB(), "a": ARRAY(Text()), "v": Interval()}.items()
    ),
)
cities = Table("cities", METADATA, Column("city_id", Integer, primary_key=True), Column("name", Text))


def rows(parent: Any = people) -> Select[Any]:
    return (
        select(homes.c.home_id, homes.c.worth)
        .where(homes.c.person_id == parent.c.person_id, homes.c.worth > 5)
        .order_by(homes.c.worth.desc(), homes.c.home_id)
    )


def printed(statement: Select[Any], **options: Any) -> str:
    text = str(statement.compile(dialect=postgresql.dialect(), **options))  # type: ignore[no-untyped-call]
    return " ".join(text.split())


LITERAL = {"compile_kwargs": {"literal_binds": True}}


def expected(parent: str, bind: str, aliased: str = "") -> str:
    condition = f"WHERE homes.person_id = {parent}.person_id AND homes.worth > {bind}"
    return (
        f"SELECT {parent}.person_id, (SELECT coalesce(json_agg(json_build_object('home_id', d.home_id, 'worth', d.worth)),"
        " '[]'::json) AS coalesce_1 FROM (SELECT homes.home_id AS home_id, homes.worth AS worth FROM homes"
        f" {condition} ORDER BY homes.worth DESC, homes.home_id LIMIT 7) AS d) AS homes,"
        f" EXISTS (SELECT 1 FROM homes {condition} LIMIT ALL OFFSET 7) AS homes_truncated FROM {aliased or parent}"
    )


def test_the_enclosing_tables_are_not_repeated_inside() -> None:
    statement = select(people.c.person_id, *embedded("homes", rows(), bound=7))
    assert printed(statement) == expected("people", "%(worth_1)s::INTEGER")
    assert printed(statement, **LITERAL) == expected("people", "5")


def test_under_an_alias() -> None:
    p = people.alias("p")
    assert printed(select(p.c.person_id, *embedded("homes", rows(p), bound=7)), **LITERAL) == expected(
        "p", "5", "people AS p"
    )


def test_in_a_subquery_and_beside_a_join() -> None:
    other = people.alias("other")
    statement = select(people.c.person_id, *embedded("homes", rows(), bound=7))
    joined = statement.join(other, other.c.name == people.c.name)
    assert printed(joined, **LITERAL) == expected("people", "5") + " JOIN people AS other ON other.name = people.name"
    assert expected("people", "5").removeprefix("SELECT people.person_id, ").replace(
        "SELECT people", "SELECT"
    ) in printed(select(statement.subquery()), **LITERAL)


def test_rows_of_a_join_keep_their_own_tables() -> None:
    own = (
        select(homes.c.home_id, cities.c.name)
        .join(cities, cities.c.city_id == homes.c.city_id)
        .where(homes.c.person_id == people.c.person_id)
        .order_by(homes.c.home_id)
    )
    text = printed(select(people.c.person_id, *embedded("homes", own, bound=2)))
    assert text.count("FROM homes JOIN cities ON cities.city_id = homes.city_id WHERE") == 2
    assert text.endswith("FROM people")


def test_a_table_that_the_enclosing_select_lacks_stays_inside() -> None:
    text = printed(select(cities.c.city_id, *embedded("homes", rows(), bound=2)))
    assert text.count("FROM homes, people WHERE") == 2


def test_a_correlation_that_is_spelled_out_is_kept() -> None:
    text = printed(select(people.c.person_id, *embedded("homes", rows().correlate(None), bound=2)))
    assert text.count("FROM homes, people WHERE") == 2


def test_it_prints_without_a_dialect_too() -> None:
    assert "json_agg" in str(select(people.c.person_id, *embedded("homes", rows(), bound=7)))


def test_columns_are_recognised_in_the_select() -> None:
    statement = select(people.c.person_id, *embedded("homes", rows(), bound=7)).where(people.c.name == "x")
    _, document, marker = (unlabelled(column) for column in statement.selected_columns)
    assert isinstance(document, Embedded)
    assert isinstance(marker, Truncated)
    assert (document.bound, marker.bound) == (7, 7)
    assert [column.name for column in document.rows.selected_columns] == ["home_id", "worth"]
    assert truncation_markers(statement) == ("homes_truncated",)
    assert truncation_markers(select(people)) == ()


def test_a_replaced_table_is_replaced_inside() -> None:
    p = people.alias("p")
    statement = select(*embedded("homes", rows(), bound=7))

    def replace(element: Any, **_: Any) -> Any:
        return p.c[element.name] if getattr(element, "table", None) is people else None

    changed = [replacement_traverse(column, {}, replace) for column in statement.selected_columns]
    assert printed(select(p.c.person_id, *changed), **LITERAL) == expected("p", "5", "people AS p")
    assert "homes.person_id = people.person_id" in printed(statement), "the original is changed too"


def test_traversal_reaches_the_rows() -> None:
    (document, _) = embedded("homes", rows(), bound=7)
    assert {homes, people} <= {node for node in iterate(document) if isinstance(node, Table)}


def test_the_cache_tells_bounds_and_rows_apart_and_not_values() -> None:
    def key(bound: int, more: Any = None) -> Any:
        chosen = rows() if more is None else rows().where(more)
        return select(*embedded("homes", chosen, bound=bound))._generate_cache_key()

    assert key(7) == key(7)
    assert key(7) != key(8)
    assert key(7) != key(7, homes.c.home_id == 1)
    assert key(7, homes.c.home_id == 1) == key(7, homes.c.home_id == 2)


def test_the_type_and_the_table() -> None:
    model = ReadModel(
        name="profile",
        select=select(people.c.person_id, *embedded("homes", rows(), bound=7), people.c.name),
        partition_key=("person_id",),
    )
    kind = model.columns["homes"]
    assert (kind.kind, kind.opaque, kind.sqlite) == (Kind.DOCUMENT, True, "TEXT")
    assert [(name, of.kind, of.scale) for name, of in kind.fields] == [
        ("home_id", Kind.INTEGER, None),
        ("worth", Kind.NUMERIC, 2),
    ]
    table = cassandra_table(model, "k")
    made, created = table.creation()
    assert made == 'CREATE TYPE IF NOT EXISTS "k"."profile_homes" ("home_id" int, "worth" decimal)'
    assert created == table.create()
    assert '\n    "homes" frozen<list<frozen<"profile_homes">>>,\n    "homes_truncated" boolean,\n' in created
    assert table.drop() == ['DROP TABLE IF EXISTS "k"."profile"', 'DROP TYPE IF EXISTS "k"."profile_homes"']


def with_field(column: Any) -> Select[Any]:
    return select(homes.c.home_id, column).where(homes.c.person_id == people.c.person_id).order_by(homes.c.home_id)


@pytest.mark.parametrize(
    ("refused", "bound", "reason"),
    [
        (rows(), 0, "outside 1..1000"),
        (rows(), 1_001, "outside 1..1000"),
        (rows().order_by(None), 7, "no ORDER BY.*total"),
        (rows().limit(3), 7, "LIMIT or OFFSET"),
        (rows().offset(3), 7, "LIMIT or OFFSET"),
        (rows().distinct(), 7, "DISTINCT"),
        (rows().group_by(homes.c.home_id), 7, "GROUP BY"),
        (rows().union_all(rows()), 7, "CompoundSelect is no plain"),
        (with_field(homes.c.worth.label("home_id")), 7, "two fields are named 'home_id'"),
        (with_field(homes.c.worth + 1), 7, "label"),
        (with_field(homes.c.worth.label("Worth")), 7, "'Worth' must match"),
        (with_field(homes.c.x), 7, "'x' is of kind bytes.*cast it to text"),
        (with_field(homes.c.f), 7, "'f' is of kind float.*cast it to text"),
        (with_field(homes.c.j), 7, "'j' is of kind json.*cast it to text"),
        (with_field(homes.c.a), 7, "'a' is of kind array.*cast it to text"),
        (with_field(homes.c.v), 7, "'v' is of kind interval.*cast it to text"),
        (with_field(embedded("inner", rows(), bound=1)[0]), 7, "'inner' is of kind document.*cast it to text"),
        (with_field(func.some_function(homes.c.x).label("g")), 7, "'g'.*no exact form"),
        (rows().add_columns(*(literal(n).label(f"c{n}") for n in range(49))), 7, "51 fields"),
    ],
)
def test_what_can_not_be_a_document_is_refused(refused: Any, bound: int, reason: str) -> None:
    with pytest.raises(DeclarationError, match=f"embedded 'homes': .*{reason}"):
        embedded("homes", refused, bound=bound)


def test_a_document_is_no_key() -> None:
    with pytest.raises(DeclarationError, match="key column 'homes' is a document"):
        ReadModel(
            name="profile",
            select=select(people.c.person_id, *embedded("homes", rows(), bound=7)),
            partition_key=("person_id",),
            clustering_key=("homes",),
        )


def test_a_column_without_a_name_asks_for_a_label() -> None:
    with pytest.raises(DeclarationError, match="label"):
        ReadModel(name="m", select=select(homes.c.home_id, homes.c.worth + 1), partition_key=("home_id",))
