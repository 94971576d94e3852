"""The pure decoder, on bytes recorded from a real server and on what damage makes of them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from command_api.relay import pgoutput
from command_api.relay.errors import PgoutputError
from command_api.relay.pgoutput import UNCHANGED
from tests.unit.command_api.relay.streams import MESSAGES


def _of(kind: type[pgoutput.AnyMessage]) -> list[pgoutput.AnyMessage]:
    return [message for message in map(pgoutput.decode, MESSAGES) if isinstance(message, kind)]


def test_every_kind_of_message_is_recorded() -> None:
    kinds = {type(message) for message in map(pgoutput.decode, MESSAGES)}
    assert kinds == {
        pgoutput.Begin, pgoutput.Commit, pgoutput.Origin, pgoutput.Message, pgoutput.Relation,
        pgoutput.Type, pgoutput.Insert, pgoutput.Update, pgoutput.Delete, pgoutput.Truncate,
    }  # fmt: skip


def test_begin_and_commit_agree() -> None:
    begins, commits = _of(pgoutput.Begin), _of(pgoutput.Commit)
    assert len(begins) == len(commits) == 11
    for begin, commit in zip(begins, commits, strict=True):
        assert isinstance(begin, pgoutput.Begin)
        assert isinstance(commit, pgoutput.Commit)
        assert begin.commit_lsn == commit.commit_lsn < commit.end_lsn
        assert begin.committed_at == commit.committed_at > 1_700_000_000_000_000


def test_relation_describes_identity_and_columns() -> None:
    plain, whole = _of(pgoutput.Relation)[:2]
    assert isinstance(plain, pgoutput.Relation)
    assert isinstance(whole, pgoutput.Relation)
    assert (plain.schema, plain.name, plain.identity) == ("public", "plain", "d")
    assert [(c.name, c.in_identity) for c in plain.columns] == [
        ("id", True),
        ("name", False),
        ("feeling", False),
        ("big", False),
    ]
    assert [c.type_oid for c in plain.columns][:2] == [20, 25]
    assert all(c.type_modifier == -1 for c in plain.columns)
    assert (whole.identity, all(c.in_identity for c in whole.columns)) == ("f", True)
    (mood, *_) = _of(pgoutput.Type)
    assert isinstance(mood, pgoutput.Type)
    assert (mood.schema, mood.name) == ("public", "mood")
    assert mood.oid == plain.columns[2].type_oid


def test_rows() -> None:
    first, second = _of(pgoutput.Insert)[:2]
    assert isinstance(first, pgoutput.Insert)
    assert isinstance(second, pgoutput.Insert)
    assert first.new == (b"1", b"x" * 300, b"happy", b"b" * 2500)
    assert second.new == (b"2", None, None, None)
    unchanged, moved, full = _of(pgoutput.Update)
    assert isinstance(unchanged, pgoutput.Update)
    assert isinstance(moved, pgoutput.Update)
    assert isinstance(full, pgoutput.Update)
    assert (unchanged.old, unchanged.new) == (None, (b"1", b"renamed", b"happy", UNCHANGED))
    assert (moved.old, moved.old_is_full, moved.new[0]) == ((b"1", None, None, None), False, b"3")
    assert (full.old, full.old_is_full) == ((b"7", b"a", b"w" * 2500), True)
    by_key, whole = _of(pgoutput.Delete)
    assert isinstance(by_key, pgoutput.Delete)
    assert isinstance(whole, pgoutput.Delete)
    assert (by_key.old, by_key.old_is_full) == ((b"3", None, None, None), False)
    assert (whole.old, whole.old_is_full) == ((b"7", b"b", b"w" * 2500), True)


def test_truncate_message_and_origin() -> None:
    (truncate,), (message,), (origin, _) = _of(pgoutput.Truncate), _of(pgoutput.Message), _of(pgoutput.Origin)
    assert isinstance(truncate, pgoutput.Truncate)
    assert (len(truncate.relations), truncate.cascade, truncate.restart_identity) == (2, True, True)
    assert isinstance(message, pgoutput.Message)
    assert (message.transactional, message.prefix, message.content) == (True, "prefix", b"content")
    assert isinstance(origin, pgoutput.Origin)
    assert (origin.name, origin.commit_lsn) == ("elsewhere", 0x1234)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m[:1].decode())
def test_every_truncation_is_refused(message: bytes) -> None:
    for length in range(min(len(message), 400)):
        with pytest.raises(PgoutputError):
            pgoutput.decode(message[:length])
    with pytest.raises(PgoutputError, match="left over"):
        pgoutput.decode(message + b"\0")


@settings(max_examples=2000)
@given(st.data())
def test_flipped_bytes_give_a_message_or_a_clear_error(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from(MESSAGES)))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PgoutputError):  # any other error, or a hang, is what this looks for
        pgoutput.decode(bytes(damaged))


@given(st.binary(max_size=200))
def test_garbage_gives_a_message_or_a_clear_error(data: bytes) -> None:
    with suppress(PgoutputError):
        pgoutput.decode(data)
