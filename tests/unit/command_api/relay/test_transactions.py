"""Frames to records: the recorded stream, the rules of the envelope, and damage to compiled rows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from command_api import envelope
from command_api.envelope import UNAVAILABLE
from command_api.lsn import Lsn
from command_api.relay import pgoutput
from command_api.relay.errors import PgoutputError
from command_api.relay.pgoutput import Column, Relation
from command_api.relay.rows import Origin, RowEncoders, after_lsn, before_lsn, compile_relation
from command_api.relay.tail import position
from tests.unit.command_api.relay.streams import FRAMES, MESSAGES, Log, compile_, types


def _recorded(*, resume_at: int = 0) -> Log:
    log = Log(resume_at=resume_at)
    log.feed(*FRAMES)
    return log


def test_the_recorded_stream_gives_whole_transactions() -> None:
    log = _recorded()
    inside = None
    for value in log.values:
        record = envelope.decode(json.dumps(value).encode())
        if record.status == "BEGIN":
            assert inside is None
            assert record.id is not None
            inside, orders = record.id, []
        elif record.op is not None:
            assert record.transaction is not None
            assert record.transaction.id == inside
            orders.append(record.transaction.total_order)
        else:
            assert record.status == "END"
            assert record.event_count == len(orders)
            assert orders == list(range(1, len(orders) + 1))
            assert record.id is not None
            assert inside is not None
            assert record.id.split(":")[0] == inside.split(":")[0]
            inside = None
    assert inside is None
    # The message's transaction changes no table: it gives no record.
    assert len([value for value in log.values if value.get("status") == "END"]) == 10


def test_operations_and_images() -> None:
    changes = _recorded().changes
    assert [change["op"] for change in changes] == list("ccudcdcdcdttcc")
    insert, nulls, update, gone, moved, deleted = changes[:6]
    assert insert["after"] == {"id": 1, "name": "x" * 300, "feeling": "happy", "big": "b" * 2500}
    assert nulls["after"] == {"id": 2, "name": None, "feeling": None, "big": None}
    assert (update["before"], update["after"]["big"]) == (None, UNAVAILABLE)
    assert (gone["before"], gone["after"]) == ({"id": 1}, None)
    # The old key's tuple has null for the other columns: that must not pass for their unchanged value.
    assert (moved["before"], moved["after"]["id"], moved["after"]["big"]) == (None, 3, UNAVAILABLE)
    assert deleted["before"] == {"id": 3}
    assert changes[-1]["after"] == {"id": 5, "name": "later", "feeling": None, "big": None, "added": 20579}


def test_a_full_identity_fills_before_and_unchanged_toast() -> None:
    changes = [change for change in _recorded().changes if change["source"]["table"] == "whole"]
    _, gone, moved, deleted, truncated = changes
    assert gone["before"] == {"id": 7, "part": "a", "big": "w" * 2500}
    assert moved["after"] == {"id": 7, "part": "b", "big": "w" * 2500}
    assert deleted["before"] == {"id": 7, "part": "b", "big": "w" * 2500}
    assert (truncated["before"], truncated["after"]) == (None, None)


def test_keys_name_the_table_and_hold_the_primary_key_only() -> None:
    log = _recorded()
    keys = [json.loads(key) for key, value in log.raw if key and b'"op"' in value]
    assert keys[0] == {"id": 1, "__dbz__physicalTableIdentifier": "app.public.plain"}
    assert {"id": 7, "part": "a", "__dbz__physicalTableIdentifier": "app.public.whole"} in keys


def test_ends_carry_counts_history_and_the_end_of_the_commit() -> None:
    log = Log()
    ends = log.feed(*FRAMES)
    records = [value for value in log.values if value.get("status") == "END"]
    assert [position(envelope.decode(json.dumps(record).encode())) for record in records] == ends
    assert all(record["history"] == "1/1" for record in records)
    assert records[0]["data_collections"] == [{"data_collection": "public.plain", "event_count": 2}]


def test_resuming_skips_whole_transactions_at_or_below_the_position() -> None:
    whole = _recorded()
    ends = Log().feed(*FRAMES)
    for skipped, end in enumerate(ends, start=1):
        log = _recorded(resume_at=end)
        assert [v["id"] for v in log.values if v.get("status") == "END"] == [
            v["id"] for v in whole.values if v.get("status") == "END"
        ][skipped:]


def test_a_stream_that_contradicts_itself_is_refused() -> None:
    begin, commit, insert = FRAMES[0], FRAMES[5], FRAMES[3]
    for frames in ((commit,), (begin, begin), (begin, insert), (insert,), (begin, FRAMES[8])):
        with pytest.raises(PgoutputError):
            Log().feed(*frames)


def test_compiled_rows_equal_the_slow_way() -> None:
    relations: dict[int, RowEncoders] = {}
    compared = 0
    for frame, message in zip(FRAMES, map(pgoutput.decode, MESSAGES), strict=True):
        if isinstance(message, pgoutput.Relation):
            relations[message.oid] = compile_(message)
        elif isinstance(message, pgoutput.Insert):
            rows = relations[message.relation]
            source, transaction = b'"txId":1', b'"ts_ms":1,"transaction":{"id":"x"'
            slow = rows.change(b"null", rows.values(message.new), b"c", 5, source, transaction, 2, 1)
            fast = rows.tuple_(frame, 31, before_lsn(source), 5, after_lsn(b"c", transaction), 2, 1)
            assert fast == (rows.key(message.new), slow)
            compared += 1
    assert compared == 5


@pytest.mark.parametrize("names", [("%b", "100%%d", 'a"%s'), ("%",), ()])
def test_names_are_no_templates(names: tuple[str, ...]) -> None:
    columns = tuple(Column(name=name, type_oid=23, type_modifier=-1, in_identity=True) for name in names)
    relation = Relation(oid=1, schema="%d", name="%b", identity="d", columns=columns)
    rows = compile_relation(relation, names[:1], types(relation), Origin(name="%s", database="%(a)s"))
    frame = bytes(25) + b"I\0\0\0\1N" + len(names).to_bytes(2, "big") + b"t\0\0\0\x017" * len(names)
    source, transaction = b'"txId":1', b'"ts_ms":1,"transaction":{"id":"x"'
    key, value = rows.tuple_(frame, 31, before_lsn(source), 5, after_lsn(b"c", transaction), 2, 1)
    row = (b"7",) * len(names)
    assert (key, value) == (rows.key(row), rows.change(b"null", rows.values(row), b"c", 5, source, transaction, 2, 1))
    assert json.loads(value)["after"] == dict.fromkeys(names, 7)
    assert json.loads(key or b"") == dict.fromkeys(names[:1], 7) | {envelope.TABLE_KEY: "%s.%d.%b"}


def test_every_truncation_of_a_compiled_row_is_refused() -> None:
    log = Log()
    log.feed(*FRAMES[:3])
    for length in range(25, 500):
        with pytest.raises(PgoutputError):
            log.feed(FRAMES[3][:length])
    with pytest.raises(PgoutputError):
        log.feed(FRAMES[3] + b"n")


@settings(max_examples=500)
@given(st.data())
def test_flipped_bytes_give_json_or_a_clear_error(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(FRAMES) - 1))
    damaged = bytearray(FRAMES[at])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(25, min(len(damaged), 80) - 1))] = data.draw(st.integers(0, 255))
    log = Log()
    log.feed(*FRAMES[:at])
    try:
        log.feed(bytes(damaged))
    except PgoutputError:
        return
    for key, value in log.raw:
        envelope.decode(value)
        assert key is None or json.loads(key)


def test_positions() -> None:
    assert position(envelope.decode(envelope.heartbeat(77, 1_000_000, "1/1"))) == Lsn(77)
    assert position(envelope.decode(envelope.begin(b"5:6", 1))) is None
    assert position(envelope.decode(envelope.end(b"5:66", 1, [], 1, b"1/1"))) == Lsn(66)
    assert envelope.decode(envelope.heartbeat(77, 1_000_000, "1/2")).history == "1/2"


def test_an_end_tells_the_numbers_of_its_tables_columns() -> None:
    log = Log()
    log.feed(*FRAMES)
    assert {json.dumps(value["columns"]) for value in log.values if value.get("status") == "END"} == {"{}"}
    numbered = Log(numbered=True)
    numbered.feed(*FRAMES)
    for value in numbered.values:
        if value.get("status") == "END":
            tables = {each["data_collection"] for each in value["data_collections"]}
            assert value["columns"].keys() == tables
            assert all(list(of.values()) == list(range(3, 3 + len(of))) for of in value["columns"].values())
    assert numbered.changes == [
        dict(each, ts_ms=mine["ts_ms"]) for each, mine in zip(log.changes, numbered.changes, strict=True)
    ]
