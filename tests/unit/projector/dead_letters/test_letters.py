"""What is kept and told of a refused row: its partition as readers name it, its key, its record however large it is."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from cassandra.cqltypes import Int32Type, UTF8Type, UUIDType

from projections import MESSAGES_BY_CHANNEL, ORDER_BY_ID
from projections.cassandra_table import cassandra_table
from projections.dead_letters import partition_digest
from projections.read_model import ReadModel
from projector.cassandra.encode import RowEncoder
from projector.cassandra.errors import RefusedRow
from projector.dead_letters.letters import LONGEST_KEY, Letter, Letters
from projector.dead_letters.topic import record
from tests.e2e.notes import NOTE_BY_ID, NOTES_BY_NAME

CHANNEL = UUID(int=7)


def letter(model: ReadModel, key: tuple[Any, ...], row: tuple[Any, ...] = ()) -> Letter:
    refused = RefusedRow(table="k.t", name=model.name, key=dict(zip(model.key, key, strict=True)), reason="r", row=row)
    return Letters(model).of(refused, 5, 6)


def test_a_partition_has_the_digest_that_the_drivers_own_serializer_leads_to() -> None:
    text = UTF8Type.serialize("naïve", 5)
    assert letter(NOTES_BY_NAME, ("naïve", 1)).partition == partition_digest([text])
    uuid = UUIDType.serialize(CHANNEL, 5)
    assert letter(ORDER_BY_ID, (str(CHANNEL),)).partition == partition_digest([uuid])
    assert letter(NOTES_BY_NAME, ("", 1)).partition == partition_digest([b""]), "no check of a key"


def test_all_buckets_of_a_channel_are_one_partition() -> None:
    of = {letter(MESSAGES_BY_CHANNEL, (str(CHANNEL), bucket, str(CHANNEL))).partition for bucket in (1, 2)}
    assert of == {partition_digest([UUIDType.serialize(CHANNEL, 5)])}
    assert partition_digest([Int32Type.serialize(1, 5)]) not in of


def test_a_key_without_a_form_in_cql_has_a_letter_too() -> None:
    no_uuid = letter(ORDER_BY_ID, ("no uuid",))
    assert json.loads(no_uuid.key or "") == ["no uuid"]
    assert no_uuid.partition != letter(ORDER_BY_ID, ("another",)).partition


def test_a_key_that_is_too_long_is_known_by_its_digest() -> None:
    long = letter(NOTES_BY_NAME, ("x" * LONGEST_KEY, 1))
    assert long.key is None
    assert long.row != letter(NOTES_BY_NAME, ("x" * LONGEST_KEY, 2)).row


def test_a_refusal_says_whether_a_row_with_its_key_can_be_there() -> None:
    table = cassandra_table(NOTE_BY_ID, "k")
    row = dict.fromkeys(table.columns)
    rows = [tuple((row | values).values()) for values in ({"id": 1, "at": -1}, {"id": 1 << 70}, {"id": None})]
    refused = [each.keyed for _, each in RowEncoder(table).refusals(rows)]
    assert refused == [True, False, False]


def test_a_record_holds_the_row_as_far_as_it_has_room() -> None:
    table = cassandra_table(NOTES_BY_NAME, "k")
    values = ("n", 1, "x" * 10_000)
    refused = RefusedRow(table="k.t", name="notes_by_name", key={"name": "n", "id": 1}, reason="too large", row=values)
    of = Letters(NOTES_BY_NAME).of(refused, 0x10, 1_709_251_200_000_001)
    key, value = record(of, refused, tuple(table.columns), 20_000)
    assert json.loads(key) == {"read_model": "notes_by_name", "key": {"name": "n", "id": 1}}
    assert json.loads(value) == {
        "read_model": "notes_by_name",
        "key": {"name": "n", "id": 1},
        "row": {"name": "n", "id": 1, "body": "x" * 10_000},
        "reason": "too large",
        "lsn": "0/10",
        "time": "2024-03-01T00:00:00.000001Z",
    }
    _, small = record(of, refused, tuple(table.columns), 5_000)
    assert json.loads(small)["row"] is None
    assert json.loads(small)["key"] == {"name": "n", "id": 1}
    _, smallest = record(of, refused, tuple(table.columns), 100)
    assert json.loads(smallest)["key"] is None
