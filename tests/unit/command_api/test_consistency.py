"""Consistency tokens: what they print is what they read, and a merged one asks for all that each of them asked for."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_api.lsn import Lsn
from command_api.process.consistency import (
    MOST_TABLES,
    PATTERN,
    ConsistencyToken,
    InvalidConsistencyTokenError,
    merged,
)

NAMES = tuple(f"t{number}" for number in range(6))
POSITIONS = st.integers(0, 9).map(Lsn)
TOKENS = st.builds(
    ConsistencyToken, everywhere=POSITIONS, tables=st.dictionaries(st.sampled_from(NAMES), POSITIONS, max_size=4)
)


@given(TOKENS)
def test_a_token_is_read_as_it_was_printed(token: ConsistencyToken) -> None:
    assert re.fullmatch(PATTERN, str(token))
    assert ConsistencyToken.parse(str(token)) == token


@given(st.lists(TOKENS, max_size=4), st.frozensets(st.sampled_from(NAMES)))
def test_a_merged_token_asks_for_what_each_asked_for(tokens: list[ConsistencyToken], tables: frozenset[str]) -> None:
    expected = max((token.position(tables) for token in tokens), default=Lsn(0))
    assert merged(tokens).position(tables) == expected
    if tokens:
        assert ConsistencyToken.parse_list(", ".join(map(str, tokens))) == merged(tokens)


def test_other_tables_are_not_waited_for() -> None:
    token = ConsistencyToken.parse("16/10;orders@16/30;users@16/20")
    assert token.position({"posts"}) == Lsn.parse("16/10")
    assert token.position({"posts", "users"}) == Lsn.parse("16/20")
    assert token.position({"orders", "users"}) == Lsn.parse("16/30")
    assert ConsistencyToken.parse("16/10").position({"orders"}) == Lsn.parse("16/10")


def test_a_token_stays_short_by_asking_for_more() -> None:
    many = merged(ConsistencyToken.of([f"table_{number}"], Lsn(number)) for number in range(1, MOST_TABLES + 2))
    assert many == ConsistencyToken(everywhere=Lsn(MOST_TABLES + 1))
    assert ConsistencyToken.of(["a table"], Lsn(7)) == ConsistencyToken(everywhere=Lsn(7))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "0/1;",
        "0/1;orders",
        "0/1;orders@",
        "0/1;orders@x",
        "0/1;@0/1",
        "0/1;a b@0/2",
        "0/1 ;a@0/2",
        "0/1" + "".join(f";t{number}@0/2" for number in range(MOST_TABLES + 1)),
    ],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(InvalidConsistencyTokenError):
        ConsistencyToken.parse(text)


@pytest.mark.parametrize("text", ["", ",", "0/1,", "0/1;a@0/2,,0/3"])
def test_a_list_with_a_gap_is_refused(text: str) -> None:
    with pytest.raises(InvalidConsistencyTokenError):
        ConsistencyToken.parse_list(text)
