"""Requests in the log: from the source's message through the relay's record to the keys that a step writes."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, DateTime, Integer, LargeBinary, MetaData, Numeric, Table, Text, Uuid, select

from command_api import envelope
from command_api.relay.pgoutput import LAYOUT_BEGIN, LAYOUT_COMMIT
from projections.read_model import ReadModel
from projector.apply import requests
from projector.apply.consume import Assembler
from projector.apply.requests import MOST_KEYS, RebuildAskedError, RequestError, asked, keys_of, read, repairs
from projector.apply.step import Step
from projector.apply.transaction import Transaction
from projector.compile.program import compile_models
from projector.replica.schema import open_replica
from tests.unit.command_api.relay.streams import FRAMES, Log

v = Table(
    "v",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("u", Uuid, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("price", Numeric(12, 2), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
)
MODEL = ReadModel(
    name="m", select=select(*v.c), partition_key=("name", "u"), clustering_key=("at", "price", "data", "id")
)
KEY = st.tuples(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=5),
    st.uuids().map(str),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-(10**12) + 1, 10**12 - 1),
    st.binary(max_size=5),
    st.integers(-(1 << 31), (1 << 31) - 1),
)


def frames(prefix: str, content: bytes, *, transactional: int = 1) -> list[bytes]:
    """A transaction that holds one message."""
    head = b"w" + (700).to_bytes(8, "big") + bytes(16)
    message = b"M" + bytes([transactional]) + (700).to_bytes(8, "big") + prefix.encode() + b"\0"
    message += len(content).to_bytes(4, "big") + content
    return [
        head + b"B" + LAYOUT_BEGIN.pack(790, 0, 5),
        head + message,
        head + b"C" + LAYOUT_COMMIT.pack(0, 790, 800, 0),
    ]


def transaction(prefix: str, content: str, *, first_offset: int = 0) -> Transaction:
    """The same behind the log."""
    log = Log()
    log.feed(*frames(prefix, content.encode()))
    (found,) = Assembler(0).feed(enumerate((value for _, value in log.raw), first_offset))
    assert isinstance(found, Transaction)
    return found


def test_a_message_is_a_record_of_its_transaction_as_debezium_s_are() -> None:
    log = Log()
    assert log.feed(*frames("lockstep.repair", b"\x00{}")) == [800]
    begin, message, end = log.values
    assert begin["status"] == "BEGIN"
    assert message["op"] == "m"
    assert message["message"] == {"prefix": "lockstep.repair", "content": "AHt9"}
    assert message["source"]["schema"] == message["source"]["table"] == ""
    assert message["transaction"] == {"id": "5:790", "total_order": 1, "data_collection_order": 1}
    assert end["event_count"] == 1
    assert end["data_collections"] == [{"data_collection": "LOGICAL_DECODING_MESSAGE", "event_count": 1}]
    assert json.loads(log.raw[1][0] or b"") == {"prefix": "lockstep.repair"}


@pytest.mark.parametrize(("prefix", "transactional"), [("app", 1), ("lockstep", 1), ("lockstep.repair", 0)])
def test_other_messages_give_no_record(prefix: str, transactional: int) -> None:
    log = Log()
    assert log.feed(*frames(prefix, b"{}", transactional=transactional)) == []
    assert log.values == []


def test_a_message_at_or_below_the_position_is_not_sent_again() -> None:
    log = Log(resume_at=800)
    assert log.feed(*frames("lockstep.repair", b"{}")) == []
    assert log.values == []


def test_a_message_counts_among_the_changes_of_its_transaction() -> None:
    log = Log()
    log.feed(*FRAMES[:5], frames("lockstep.x", b"")[1], FRAMES[5])
    assert [value["transaction"]["total_order"] for value in log.changes] == [1, 2, 3]
    assert log.values[-1]["event_count"] == 3
    (found,) = Assembler(0).feed(enumerate(value for _, value in log.raw))
    assert isinstance(found, Transaction)
    assert [offset for offset, _ in found.changes.messages] == [3]


def test_a_stock_connector_s_message_outside_of_transactions_passes_by() -> None:
    value = b'{"op":"m","source":{"connector":"postgresql"},"message":{"prefix":"app","content":"AA=="}}'
    assert list(Assembler(0).feed([(0, value)])) == []


@given(st.lists(KEY, min_size=1, max_size=30))
def test_keys_come_through_the_log_as_they_were(keys: list[tuple[Any, ...]]) -> None:
    found: list[tuple[Any, ...]] = []
    for content in repairs(MODEL, keys):
        found += asked([transaction(requests.REPAIR, content)], {"m": MODEL}, 0, _fail)["m"]
    assert found == keys


def test_many_keys_are_many_messages_of_bounded_size() -> None:
    key = ("n" * 2_000, "00000000-0000-0000-0000-000000000001", 1, 1, b"", 1)
    contents = list(repairs(MODEL, [key] * (MOST_KEYS * 2)))
    assert sum(len(json.loads(content)["keys"]) for content in contents) == MOST_KEYS * 2
    assert max(map(len, contents)) < 300_000
    small = ("n", *key[1:])
    assert [len(json.loads(content)["keys"]) for content in repairs(MODEL, [small] * (MOST_KEYS + 1))] == [MOST_KEYS, 1]


def test_keys_that_are_none_of_the_model_are_refused_by_name() -> None:
    right = ["n", "00000000-0000-0000-0000-000000000001", 1, 1, "", 1]
    assert keys_of(MODEL, [right]) == [(*right[:4], b"", 1)]
    for place, value in ((0, None), (0, 1), (1, "no uuid"), (2, "1"), (2, 1.5), (2, 1 << 70), (4, "***"), (5, True)):
        wrong = [*right[:place], value, *right[place + 1 :]]
        with pytest.raises(RequestError, match="m"):
            keys_of(MODEL, [wrong])
    with pytest.raises(RequestError, match="5 values"):
        keys_of(MODEL, [right[:-1]])


def test_a_rebuild_is_asked_for_once_a_replica() -> None:
    request = transaction(requests.REBUILD, requests.rebuild(MODEL), first_offset=40)
    with pytest.raises(RebuildAskedError, match="offset 41"):
        asked([request], {"m": MODEL}, 41, _fail)
    assert asked([request], {"m": MODEL}, 42, _fail) == {}
    assert asked([request], {}, 0, _fail) == {}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"model": 1}', '{"model": "m", "keys": 7}', '{"model": "m", "more": 1}']
)
def test_what_can_not_be_read_is_told_and_passed_by(content: str) -> None:
    refused: list[RequestError] = []
    assert asked([transaction(requests.REPAIR, content)], {"m": MODEL}, 0, refused.append) == {}
    assert len(refused) == 1
    assert "log offset 1" in str(refused[0])


def test_other_messages_are_no_requests() -> None:
    assert read(envelope.Message(prefix="lockstep.other", content="not base64")) is None


def test_a_step_writes_keys_that_were_asked_for_and_deletes_those_without_a_row() -> None:
    model = ReadModel(
        name="m", select=select(v.c.name, v.c.id, v.c.price), partition_key=("name",), clustering_key=("id",)
    )
    program = compile_models([model])
    connection: sqlite3.Connection = open_replica(None, program, "log")
    connection.execute("INSERT INTO v (id, name, price) VALUES (1, 'a', 150)")
    step = Step(connection, program)
    assert step.take([], {"m": [("a", 1), ("a", 2), ("a", 1)]}) == {"m": 2}
    (compiled,) = program.models
    assert [row for rows in step.present(compiled) for row in rows] == [("a", 1, 150)]
    assert [row for rows in step.absent(compiled) for row in rows] == [("a", 2)]
    assert step.take([]) == {"m": 0}
    connection.close()


def _fail(error: RequestError) -> None:
    raise AssertionError(error)
