"""What the edge accepts: order moves, texts, money, keys; all without a server."""

from __future__ import annotations

import itertools
import socket
from typing import get_args
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from command_api.commands.catalogue import ChangePrice
from command_api.commands.fields import new_id
from command_api.commands.orders import MOVES, Status, check_move
from command_api.commands.people import ChangeAvatar, RenameUser
from command_api.errors import BadRequestError, ConflictError
from command_api.idempotency import fingerprint, parse_key
from command_api.problems import fields_of
from command_api.serve import _bound
from command_api.tables.orders import STATUSES

ALLOWED = {
    ("placed", "paid"),
    ("placed", "cancelled"),
    ("paid", "shipped"),
    ("paid", "cancelled"),
    ("shipped", "delivered"),
}


def test_statuses_are_those_of_the_table() -> None:
    assert tuple(get_args(Status)) == STATUSES == tuple(MOVES)


@pytest.mark.parametrize(("current", "to"), list(itertools.product(STATUSES, STATUSES)))
def test_moves(current: Status, to: Status) -> None:
    if (current, to) in ALLOWED:
        check_move(uuid4(), current, to)
    else:
        with pytest.raises(ConflictError) as caught:
            check_move(uuid4(), current, to)
        assert caught.value.status == 409


@given(st.text(st.characters(codec=None, categories=None), max_size=250))
def test_a_name_that_is_accepted_can_be_stored(text: str) -> None:
    try:
        name = RenameUser.model_validate({"name": text}).name
    except ValidationError as error:
        faults = fields_of(error.errors())
        assert faults
        assert all(fault.remedy and "{" not in fault.remedy for fault in faults)
        stripped = text.strip()
        assert not stripped or "\x00" in text or len(stripped) > 200 or any("\ud800" <= c <= "\udfff" for c in text)
    else:
        assert name.encode()
        assert "\x00" not in name
        assert 1 <= len(name) <= 200


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.floats() | st.integers() | st.booleans() | st.text())
def test_a_price_that_is_accepted_fits_numeric_12_2_exactly(value: object) -> None:
    try:
        price = ChangePrice.model_validate({"price": value}).price
    except ValidationError:
        return
    assert price.is_finite()
    assert 0 <= price < 10**10
    assert price == round(price, 2)
    assert not isinstance(value, bool)


@pytest.mark.parametrize("url", ["https://a.example/x.png", "http://a", None])
def test_avatars(url: str | None) -> None:
    assert ChangeAvatar.model_validate({"avatar_url": url}).avatar_url == url


@pytest.mark.parametrize(
    "url", ["", "a.png", "ftp://a", "https://", "https://a b", "https://a\nb", "https://" + "a" * 2_048]
)
def test_what_is_no_avatar(url: str) -> None:
    with pytest.raises(ValidationError):
        ChangeAvatar.model_validate({"avatar_url": url})


def test_new_ids_are_version_7_and_rise() -> None:
    ids = [new_id() for _ in range(1_000)]
    assert ids == sorted(ids)
    assert {i.version for i in ids} == {7}
    assert all(type(i) is UUID for i in ids)


@pytest.mark.parametrize("key", ["a", "x" * 255, '"quoted"', "with spaces"])
def test_keys(key: str) -> None:
    assert parse_key(key) == key


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\nb", "a\x00"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(BadRequestError, match="255"):
        parse_key(key)


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_fingerprints_differ_when_any_part_does(one: list[bytes], other: list[bytes]) -> None:
    assert (fingerprint(*one) == fingerprint(*other)) == (one == other)


def test_the_listener_is_known_to_be_tcp_so_that_replies_do_not_wait_for_acknowledgements() -> None:
    with _bound("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
