"""Records of the log to whole transactions, whatever order and state they arrive in."""

from __future__ import annotations

import contextlib
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from command_api.envelope import LogRecordError
from projector.apply.consume import Assembler, LogGapError
from projector.apply.transaction import Heartbeat, Transaction
from tests.oracle.history import history
from tests.oracle.log import disturbed, heartbeat, records
from tests.oracle.schema import d, x


def taken(log: list[bytes], lsn: int = 0) -> list[Transaction | Heartbeat]:
    """What is handed on."""
    return list(Assembler(lsn).feed(enumerate(log)))


@settings(max_examples=60)
@given(seed=st.integers(0, 1 << 32))
def test_every_commit_is_handed_on_once_and_in_order(seed: int) -> None:
    rng = Random(seed)
    commits = history(rng, [d, x], rng.randrange(2, 12))
    found = taken([entry.value for entry in disturbed(rng, commits)])
    assert [f.lsn for f in found] == sorted({f.lsn for f in found})
    whole = [(t.lsn, t.changes.count) for t in found if isinstance(t, Transaction)]
    assert whole == [(c.end, len(c.events)) for c in commits]


@settings(max_examples=60)
@given(seed=st.integers(0, 1 << 32))
def test_reading_on_from_any_offset_handed_out_misses_nothing(seed: int) -> None:
    rng = Random(seed)
    commits = history(rng, [d, x], rng.randrange(2, 12))
    log = [entry.value for entry in disturbed(rng, commits)]
    for stop in taken(log):
        rest = Assembler(stop.lsn).feed(list(enumerate(log))[stop.next_offset :])
        assert [t.lsn for t in rest if isinstance(t, Transaction)] == [c.end for c in commits if c.end > stop.lsn]


@settings(max_examples=80)
@given(seed=st.integers(0, 1 << 32))
def test_a_lost_record_stops_or_waits_but_is_never_passed_over(seed: int) -> None:
    """One record is gone for good: nothing at or after its transaction is handed on."""
    rng = Random(seed)
    commits = history(rng, [d, x], rng.randrange(2, 8), with_snapshot=False)
    calm = records(commits)
    gone = rng.randrange(len(calm))
    if b'"END"' in calm[gone].value[:20] and rng.random() < 0.9:
        return  # without its END a transaction never was; only the position of later ones could tell
    log = [entry.value for at, entry in enumerate(calm) if at != gone]
    found: list[int] = []
    try:
        found += [t.lsn for t in Assembler(0).feed(enumerate(log)) if isinstance(t, Transaction)]
    except LogGapError:
        return
    if b'"END"' not in calm[gone].value[:20]:
        assert calm[gone].commit == len(commits) - 1
        assert commits[-1].end not in found


def test_position_and_heartbeats_below_are_passed_over() -> None:
    assert taken([heartbeat(5).value, heartbeat(5).value, heartbeat(4).value, heartbeat(6).value], lsn=4) == [
        Heartbeat(5, 1_700_000_000_005_000, 1),
        Heartbeat(6, 1_700_000_000_006_000, 4),
    ]


def test_the_same_position_is_handed_on_again_with_a_later_time_only() -> None:
    log = [heartbeat(5, at) for at in (30, 30, 20, 40)]
    assert taken([entry.value for entry in log], lsn=5) == [Heartbeat(5, 30, 1), Heartbeat(5, 40, 4)]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"{}",
        b"[]",
        b"\xff",
        b'{"status":"BEGIN"}',
        b'{"status":"BEGIN","id":"7"}',
        b'{"status":"END","id":"7:x","event_count":1}',
        b'{"status":"END","id":"7:9"}',
        b'{"status":"MIDDLE","id":"7:9"}',
        b'{"op":"c","after":{}}',
        b'{"op":"z","source":{"table":"t"},"transaction":{"id":"1:1","total_order":1}}',
        b'{"lsn":"x"}',
    ],
)
def test_what_is_no_record_stops_with_its_offset(value: bytes) -> None:
    with pytest.raises(LogRecordError, match=r"log offset 1: .*projector skip --offset 1"):
        taken([heartbeat(5).value, value])


@given(garbage=st.binary(max_size=60))
def test_garbage_is_that_error_or_nothing(garbage: bytes) -> None:
    with contextlib.suppress(LogRecordError):
        assert len(taken([garbage])) <= 1


def test_a_begin_whose_end_never_comes_does_not_hold_the_offset_back() -> None:
    """A woken relay sent the start of a transaction that stands in the log already."""
    rng = Random(3)
    commits = history(rng, [d, x], 6, with_snapshot=False)
    log = [entry.value for entry in records(commits)]
    whole = [at for at, value in enumerate(log) if b'"END"' in value[:20]]
    again = log[: whole[0]]  # BEGIN and changes of the first transaction, without its END
    log[whole[1] + 1 : whole[1] + 1] = again
    last = taken(log)[-1]
    assert last.lsn == commits[-1].end
    assert last.next_offset == len(log)
