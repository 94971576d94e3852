"""Values' texts to Debezium's encodings; the texts are what a real server prints (tests/integration/relay/test_relay_types.py)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_api.envelope import UNAVAILABLE
from command_api.relay import encodings
from command_api.relay.encodings import ColumnType, encoder, unavailable
from command_api.relay.errors import PgoutputError


def _encode(name: str, text: str, precision: int = 6) -> Any:
    return json.loads(encoder(ColumnType(name=name, precision=precision))(text.encode()))


@pytest.mark.parametrize(
    ("name", "precision", "text", "expected"),
    [
        ("bool", 6, "t", True),
        ("int8", 6, "-9223372036854775808", -(2**63)),
        ("float8", 6, "1e+20", 1e20),
        ("float8", 6, "-0", 0),
        ("float8", 6, "NaN", "NaN"),
        ("float4", 6, "-Infinity", "-Infinity"),
        ("numeric", 6, "12.50", "12.50"),
        ("numeric", 6, "NaN", "NaN"),
        ("money", 6, "-$1,234.50", "-1234.50"),
        ("text", 6, 'quo"te \\ \n tab\t é 😀', 'quo"te \\ \n tab\t é 😀'),
        ("bytea", 6, "\\x00ff", base64.b64encode(b"\0\xff").decode()),
        ("date", 6, "1970-01-02", 1),
        ("date", 6, "2000-02-29", 11016),
        ("date", 6, "4714-11-24 BC", -2440588),
        ("date", 6, "0001-12-31 BC", -719163),
        ("date", 6, "5874897-12-31", 2145042905),
        ("date", 6, "infinity", -2147472692),
        ("date", 6, "-infinity", -2147472691),
        ("time", 6, "13:51:30.123456", 49890123456),
        ("time", 3, "13:51:30.123", 49890123),
        ("time", 0, "24:00:00", 86400000),
        ("timestamp", 6, "2016-11-04 13:51:30.123456", 1478267490123456),
        ("timestamp", 3, "2016-11-04 13:51:30.123", 1478267490123),
        ("timestamp", 3, "1969-12-31 23:59:59.999", -1),
        ("timestamp", 6, "infinity", 9223372036825200000),
        ("timestamp", 3, "-infinity", -9223372036832400),
        ("timestamp", 6, "4713-01-01 00:00:00 BC", -210863520000000000),
        ("timestamptz", 6, "2016-11-04 11:51:30.12+00", "2016-11-04T11:51:30.120000Z"),
        ("timestamptz", 3, "2016-11-04 11:51:30+00", "2016-11-04T11:51:30.000Z"),
        ("timestamptz", 0, "2016-11-04 11:51:30+00", "2016-11-04T11:51:30Z"),
        ("timestamptz", 6, "21016-11-04 06:51:30.123456+00", "+21016-11-04T06:51:30.123456Z"),
        ("timestamptz", 6, "4714-12-31 23:59:59.999999+00 BC", "-4713-12-31T23:59:59.999999Z"),
        ("timestamptz", 6, "0001-01-01 00:00:00+00 BC", "0000-01-01T00:00:00.000000Z"),
        ("timestamptz", 6, "infinity", "infinity"),
        ("timetz", 6, "13:51:30.123789+02", "11:51:30.123789Z"),
        ("timetz", 6, "13:51:30.12+02:30", "11:21:30.12Z"),
        ("timetz", 6, "01:00:00+02", "23:00:00Z"),
        ("timetz", 6, "24:00:00+00", "24:00:00Z"),
        ("interval", 6, "1 year 2 mons 3 days 04:05:06.789", 36822960000000 + 259200000000 + 14706789000 - 5760000000),
        ("interval", 6, "-00:00:00.000001", -1),
        ("interval", 6, "1 mon -1 days", 2629800000000 - 86400000000),
        ("interval", 6, "00:00:00", 0),
        ("interval", 6, "infinity", 2**63 - 1),
        ("uuid", 6, "4db10fcd-5c9b-4d2a-8d4b-4f4f4f4f4f4f", "4db10fcd-5c9b-4d2a-8d4b-4f4f4f4f4f4f"),
        ("jsonb", 6, '{"a": [1, "x"]}', '{"a": [1, "x"]}'),
        ("inet", 6, "10.0.0.1/8", "10.0.0.1/8"),
    ],
)
def test_values(name: str, precision: int, text: str, expected: Any) -> None:
    assert _encode(name, text, precision) == expected


@pytest.mark.parametrize(
    ("element", "text", "expected"),
    [
        (ColumnType(name="int4"), "{1,NULL,-3}", [1, None, -3]),
        (ColumnType(name="int4"), "{}", []),
        (ColumnType(name="int4"), "[0:1]={1,2}", [1, 2]),
        (ColumnType(name="int4"), "{{1,2},{3,NULL}}", [[1, 2], [3, None]]),
        (
            ColumnType(name="text"),
            '{a;b,"c,d","q\\"\\\\","NULL",NULL,"",é}',
            ["a;b", "c,d", 'q"\\', "NULL", None, "", "é"],
        ),
        (ColumnType(name="bool"), "{t,f}", [True, False]),
        (ColumnType(name="bytea"), '{"\\\\x00ff"}', ["AP8="]),
        (ColumnType(name="numeric"), "{1.50,NaN}", ["1.50", "NaN"]),
        (ColumnType(name="timestamptz", precision=0), '{"2016-11-04 11:51:30+00"}', ["2016-11-04T11:51:30Z"]),
        (ColumnType(name="date"), "{1970-01-02,infinity}", [1, -2147472692]),
    ],
)
def test_arrays(element: ColumnType, text: str, expected: list[Any]) -> None:
    assert json.loads(encoder(ColumnType(name="array", element=element))(text.encode())) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bool", "x"), ("int4", "1x"), ("int4", ""), ("float8", "nan"), ("bytea", "00"), ("bytea", "\\x0"),
        ("date", "01/02/2000"), ("time", "1:2:3"), ("timestamp", "2000-01-01 00:00:00+00"), ("interval", ""),
        ("timestamptz", "2000-01-01 00:00:00+02"), ("timetz", "00:00:00"), ("interval", "1 week"),
    ],
)  # fmt: skip
def test_a_text_that_postgres_never_prints_is_refused(name: str, text: str) -> None:
    with pytest.raises(PgoutputError, match="as Postgres prints it"):
        _encode(name, text)


@pytest.mark.parametrize("text", ["", "{", "{1", "1}", "{1}}", "{1}x", "{}{}", '{"a}', "[0:1]="])
def test_a_broken_array_is_refused(text: str) -> None:
    with pytest.raises(PgoutputError):
        encoder(ColumnType(name="array", element=ColumnType(name="int4")))(text.encode())


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(PgoutputError):
        encodings.text(b"\xff")


def test_unchanged_toast_has_the_columns_own_marker() -> None:
    assert json.loads(unavailable(ColumnType(name="text"))) == UNAVAILABLE
    assert base64.b64decode(json.loads(unavailable(ColumnType(name="bytea")))) == UNAVAILABLE.encode()
    assert json.loads(unavailable(ColumnType(name="array", element=ColumnType(name="int4")))) == [UNAVAILABLE]


@given(st.dates())
def test_days_are_those_of_the_calendar(day: Any) -> None:
    assert json.loads(encodings.date(day.isoformat().encode())) == day.toordinal() - 719163


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_survives(text: str) -> None:
    assert json.loads(encodings.text(text.encode())) == text
