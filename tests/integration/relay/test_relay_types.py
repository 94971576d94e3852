"""What a row is in the log: every type and every kind of change, by stream and by snapshot."""

from __future__ import annotations

import base64
from typing import Any

import psycopg

from command_api.envelope import UNAVAILABLE
from command_api.process.settings import Settings
from command_api.relay.setup import setup
from tests.integration.relay.stand import (
    covered,
    flushed,
    for_tables,
    running,
    transactions,
)

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
