"""Records `recorded.json`: the frames that a real server sends, for the decoder's tests.

``python tests/unit/command_api/relay/record.py CONNINFO`` with a superuser's conninfo makes a database of its own, runs
`SCRIPT` and writes every frame as hex, in order. Run it again when the script changes; the tests read the script's facts.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from command_api.relay.replication import ReplicationConnection

FILE = Path(__file__).parent / "recorded.json"
LONG = "x" * 300
SCRIPT = (
    "create type mood as enum ('sad', 'happy')",
    "create table plain (id bigint primary key, name text, feeling mood, big text)",
    "alter table plain alter column big set storage external",
    "create table whole (id int, part text, big text, primary key (id, part))",
    "alter table whole replica identity full",
    "alter table whole alter column big set storage external",
    "create publication recorded for table plain, whole",
    "select pg_create_logical_replication_slot('recorded', 'pgoutput')",
    f"insert into plain values (1, '{LONG}', 'happy', repeat('b', 2500)), (2, null, null, null)",
    "update plain set name = 'renamed' where id = 1",
    "update plain set id = 3 where id = 1",
    "delete from plain where id = 3",
    "insert into whole values (7, 'a', repeat('w', 2500))",
    "update whole set part = 'b' where id = 7",
    "delete from whole",
    "truncate plain, whole restart identity cascade",
    "select pg_logical_emit_message(true, 'prefix', 'content')",
    "select pg_replication_origin_create('elsewhere')",
    "do $$ begin perform pg_replication_origin_session_setup('elsewhere');"
    " perform pg_replication_origin_xact_setup('0/1234', '2026-01-02 03:04:05Z');"
    " insert into plain values (4, 'from elsewhere', 'sad', '') ; end $$",
    "alter table plain add column added date",
    "insert into plain values (5, 'later', null, null, '2026-05-06')",
)


def main(admin: str) -> None:
    """Record."""
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("drop database if exists recording")
        connection.execute("create database recording")
        conninfo = make_conninfo(admin, dbname="recording")
        frames: list[str] = []
        with psycopg.connect(conninfo, autocommit=True) as database:
            for statement in SCRIPT:
                database.execute(statement)
            (end,) = database.execute("select pg_current_wal_flush_lsn() - '0/0'::pg_lsn").fetchone() or (0,)
        with ReplicationConnection(conninfo) as stream:
            stream._run(
                'START_REPLICATION SLOT "recorded" LOGICAL 0/0'
                " (proto_version '1', publication_names 'recorded', messages 'true')",
                8,
            )
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                got = list(stream.frames(1000))
                frames += [frame.hex() for frame in got if frame[:1] == b"w"]
                if any(frame[:1] == b"k" and int.from_bytes(frame[1:9], "big") >= end for frame in got):
                    break
                stream.wait(0.2)
        with psycopg.connect(conninfo, autocommit=True) as database:
            database.execute("select pg_replication_origin_drop('elsewhere')")
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                try:
                    database.execute("select pg_drop_replication_slot('recorded')")
                    break
                except psycopg.errors.ObjectInUse:
                    time.sleep(0.05)  # the deadline is the loop; Postgres tells nobody that a slot is free
        connection.execute("drop database recording with (force)")
        (version,) = connection.execute("show server_version").fetchone() or ("",)
    FILE.write_text(json.dumps({"server": version, "frames": frames}, indent=0) + "\n")
    print(f"{len(frames)} frames of PostgreSQL {version}")


if __name__ == "__main__":
    main(sys.argv[1])
