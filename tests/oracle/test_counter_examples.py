"""The histories that broke earlier designs, each as small as it gets; the rule that each paid for is in its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from sqlalchemy import Table

from projections.read_model import ReadModel
from projector.apply.consume import Assembler, LogGapError
from projector.apply.step import Step
from projector.apply.transaction import Heartbeat, Transaction
from projector.compile.program import compile_models
from projector.replica.schema import open_replica
from tests.oracle import store
from tests.oracle.history import Commit, Event
from tests.oracle.log import encoded, heartbeat
from tests.oracle.schema import DOMAINS, d, x
from tests.oracle.values import NULL, Value, of
from tests.oracle.views import LEFT_ABSENT, LEFT_CHAIN, LEFT_KEY, MOVING, PLAIN, SELF_KEY


def row(table: Table, **values: Any) -> dict[str, Value]:
    """A row: NULL, or the first value of its domain, wherever nothing is said."""
    columns = {str(c.name): NULL if c.nullable else DOMAINS[table.name][str(c.name)][0] for c in table.columns}
    return columns | {name: of(value) for name, value in values.items()}


def commit(end: int, *events: Event, xid: str | None = None, start: int | None = None) -> Commit:
    """A transaction that ends at an LSN."""
    return Commit(xid or str(end), events, {}, end - 1 if start is None else start, end, (end - 1,) * len(events))


def insert(table: Table, **values: Any) -> Event:
    """A c."""
    return Event(table, "c", after=row(table, **values))


def update(table: Table, *, unchanged: Iterable[str] = (), **values: Any) -> Event:
    """A u."""
    return Event(table, "u", after=row(table, **values), unchanged=frozenset(unchanged))


def delete(table: Table, **key: Any) -> Event:
    """A d."""
    return Event(table, "d", before=row(table, **key))


def values(*commits: Commit) -> list[bytes]:
    """The commits' records."""
    return [value for c in commits for _, value in encoded(c)]


def transactions(*commits: Commit) -> list[Transaction]:
    """The commits as the assembler hands them on."""
    found = list(Assembler(0).feed(enumerate(values(*commits))))
    assert all(isinstance(t, Transaction) for t in found)
    return found  # type: ignore[return-value]


class Player:
    """A worker whose batches are chosen by the test."""

    def __init__(self, model: ReadModel) -> None:
        program = compile_models([model])
        self._model = program.models[0]
        self._connection = open_replica(None, program, "log")
        self._step = Step(self._connection, program)

    def batch(self, *commits: Commit) -> tuple[int, list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """(timestamp, rows to write, keys to delete) of one batch, committed."""
        self._connection.execute("BEGIN")
        self._step.take(transactions(*commits))
        present = [tuple(r) for rows in self._step.present(self._model) for r in rows]
        absent = [tuple(r) for rows in self._step.absent(self._model) for r in rows]
        self._connection.execute("COMMIT")
        return commits[-1].end, present, absent


def after(model: ReadModel, *batches: Sequence[Commit]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """What readers see after the batches of one worker."""
    table, player = store.Table(len(model.key), len(model.columns)), Player(model)
    for commits in batches:
        write(table, player.batch(*commits))
    return table.rows()


def write(table: store.Table, writes: tuple[int, list[tuple[Any, ...]], list[tuple[Any, ...]]]) -> None:
    """Send a batch's writes."""
    timestamp, present, absent = writes
    for r in present:
        table.insert(r, timestamp)
    for key in absent:
        table.delete(key, timestamp)


D0 = commit(10, insert(d, id=0, x_id=1, value=1))
X1 = commit(20, insert(x, id=1, region="eu"))


def test_left_join_the_old_key_is_touched_when_the_partner_appears() -> None:
    assert after(LEFT_KEY, [D0], [X1]) == {("eu", 0): (1,)}


def test_left_join_the_new_key_is_touched_when_the_partner_goes() -> None:
    gone = commit(30, delete(x, id=1))
    assert after(LEFT_KEY, [D0, X1], [gone]) == {("none", 0): (1,)}


def test_left_join_the_partner_comes_and_goes_within_one_batch() -> None:
    gone = commit(30, delete(x, id=1))
    assert after(LEFT_KEY, [D0], [X1, gone]) == {("none", 0): (1,)}


def test_left_join_of_another_worker_between_whose_batches_the_partner_was_there() -> None:
    """The first worker never sees the row with its partner; it must touch that key all the same."""
    gone = commit(30, delete(x, id=1))
    table, other, worker = store.Table(2, 3), Player(LEFT_KEY), Player(LEFT_KEY)
    write(table, other.batch(D0, X1))
    write(table, worker.batch(D0, X1, gone))
    assert table.rows() == {("none", 0): (1,)}


def test_left_join_a_filter_on_the_nullable_side_is_no_filter_in_touch() -> None:
    gone = commit(30, delete(x, id=1))
    assert after(LEFT_ABSENT, [D0], [X1]) == {}
    assert after(LEFT_ABSENT, [D0], [X1], [gone]) == {(0,): (1,)}


def test_left_join_a_chain_moves_at_every_link() -> None:
    upper = commit(30, insert(x, id=0, name="o"))
    linked = commit(40, update(x, id=1, region="eu", parent_id=0))
    assert after(LEFT_CHAIN, [D0], [X1], [upper], [linked]) == {("o", "eu", 0): ("n",)}
    assert after(LEFT_CHAIN, [D0, X1, upper, linked], [commit(50, delete(x, id=0))]) == {("-", "eu", 0): ("n",)}
    assert after(LEFT_CHAIN, [D0, X1, upper, linked], [commit(50, delete(x, id=1))]) == {("-", "-", 0): (None,)}


def test_self_join_one_batch_changes_one_end_and_keeps_the_other() -> None:
    child, parent = insert(x, id=1, parent_id=0, name="n"), insert(x, id=0, name="n")
    assert after(SELF_KEY, [commit(10, child, parent)], [commit(20, update(x, id=0, name="o"))]) == {("o", 1): ("n",)}
    assert after(SELF_KEY, [commit(10, parent)], [commit(20, child)]) == {("n", 1): ("n",)}


def test_self_join_both_ends_change_while_another_worker_saw_them_apart() -> None:
    child, parent = insert(x, id=1, parent_id=0, name="n"), insert(x, id=0, name="n")
    first, second, third = commit(10, child, parent), commit(20, update(x, id=0, name="o")), commit(30, delete(x, id=1))
    table, other, worker = store.Table(2, 3), Player(SELF_KEY), Player(SELF_KEY)
    write(table, other.batch(first, second))
    write(table, worker.batch(first))
    write(table, worker.batch(second, third))
    assert table.rows() == {}


def test_a_null_is_written_because_an_unset_cell_would_leave_an_older_value() -> None:
    """Two workers at different cuts: the row was there with a note, went, and came back without one."""
    with_note, gone = commit(10, insert(d, id=0, value=1, note="old")), commit(20, delete(d, id=0))
    without = commit(30, insert(d, id=0, value=1))
    table, other, worker = store.Table(3, 4), Player(MOVING), Player(MOVING)
    write(table, other.batch(with_note))
    write(table, worker.batch(with_note, gone, without))
    assert [r[0] for r in table.rows().values()] == [None]


def test_a_value_that_postgres_left_out_is_filled_in_also_when_the_key_changes() -> None:
    there = commit(10, insert(d, id=0, value=1, note="long"))
    changed = commit(20, update(d, id=0, value=7, note="long", unchanged=["note"]))
    moved = commit(
        30, delete(d, id=0), Event(d, "c", after=row(d, id=2, value=7, note="long"), unchanged=frozenset(["note"]))
    )
    for batches in ([[there], [changed], [moved]], [[there, changed, moved]], [[there, changed], [moved]]):
        assert [(key[2], r) for key, r in after(MOVING, *batches).items()] == [(2, ("long",))]


def test_a_truncate_deletes_every_row_and_what_follows_it_stays() -> None:
    two = commit(10, insert(d, id=0, value=1), insert(d, id=1, value=1))
    truncate = commit(20, insert(d, id=2, value=1), Event(d, "t"), insert(d, id=1, value=7))
    assert {key[2] for key in after(MOVING, [two], [truncate])} == {1}
    assert {key[2] for key in after(MOVING, [two, truncate])} == {1}


def test_a_batch_is_written_at_its_last_commit_whatever_its_rows_say() -> None:
    """The row of the second commit was written to the WAL before the first commit's."""
    first = Commit("1", (insert(d, id=0, value=1),), {}, 18, 20, (19,))
    second = Commit("2", (update(d, id=0, value=7),), {}, 28, 30, (11,))
    assert [t.lsn for t in transactions(first, second)] == [20, 30]
    assert {key[0] for key in after(MOVING, [first], [second])} == {7}


def test_a_snapshot_at_the_start_of_the_next_commit_record_comes_before_it() -> None:
    """With the record's start as timestamp both would tie, and the deleted row would stay or come back."""
    snapshot = commit(20, Event(d, "r", after=row(d, id=0, value=7)), xid="snapshot", start=20)
    following = commit(24, update(d, id=0, value=1), start=20)
    assert [t.lsn for t in transactions(snapshot, following)] == [20, 24]
    assert {key[0] for key in after(MOVING, [snapshot], [following])} == {1}


def test_a_repeated_segment_is_passed_over() -> None:
    one, two = commit(10, insert(d, id=0, value=1)), commit(20, delete(d, id=0))
    assert [t.lsn for t in transactions(one, two, one, two, commit(30, insert(d, id=1, value=1)))] == [10, 20, 30]


def test_an_incomplete_end_followed_by_the_whole_transaction_is_no_loss() -> None:
    three = commit(10, *(insert(d, id=i, value=1) for i in range(3)))
    whole, torn = values(three), values(three)
    del torn[2]
    found = list(Assembler(0).feed(enumerate([*torn, *whole])))
    assert [(t.lsn, t.changes.count) for t in found if isinstance(t, Transaction)] == [(10, 3)]


@pytest.mark.parametrize("later", [values(commit(20, insert(d, id=1))), [heartbeat(20).value]])
def test_an_incomplete_end_and_then_something_later_is_a_loss(later: list[bytes]) -> None:
    torn = values(commit(10, insert(d, id=0), insert(d, id=1)))
    del torn[1]
    with pytest.raises(LogGapError, match="LSN 10"):
        list(Assembler(0).feed(enumerate([*torn, *later])))


def test_two_writers_of_one_transaction_complete_each_other() -> None:
    """A paused relay wakes up beside its successor and finishes first; the successor's BEGIN must not cost the prefix."""
    first = values(commit(10, insert(d, id=0), insert(d, id=1)))
    next_one = values(commit(20, insert(d, id=2)))
    log = [*first[:2], first[0], *first[2:], *next_one, *first[1:], *next_one]
    found = list(Assembler(0).feed(enumerate(log)))
    assert [(t.lsn, t.changes.count) for t in found if isinstance(t, Transaction)] == [(10, 2), (20, 1)]


def test_rows_of_two_overlapping_snapshots_do_not_mix() -> None:
    """The second is taken later, under its own consistent point, and reads the rows in another order."""
    one = values(commit(10, *(Event(d, "r", after=row(d, id=i, value=1)) for i in (0, 1)), xid="snapshot", start=10))
    two = values(commit(12, *(Event(d, "r", after=row(d, id=i, value=7)) for i in (1, 0)), xid="snapshot", start=12))
    found = list(Assembler(0).feed(enumerate([*one[:2], *two[:2], one[2], two[2], two[3]])))
    (whole,) = (t for t in found if isinstance(t, Transaction))
    assert [bytes(change.after).count(b'"value":7') for change in whole.changes] == [1, 1]


def test_reading_from_the_middle_waits_for_the_end_of_a_whole_snapshot() -> None:
    """What stands before that end is in the snapshot; applied without the rows before it, it would mean nothing."""
    snapshot = values(
        commit(10, *(Event(d, "r", after=row(d, id=i, value=1)) for i in (0, 1)), xid="snapshot", start=10)
    )
    between, later = values(commit(9, update(d, id=0, value=7))), values(commit(20, delete(d, id=0)))
    assembler = Assembler(0, from_start=False)
    assert list(assembler.feed(enumerate([*snapshot[:2], *between]))) == []
    assert assembler.waiting_for_snapshot
    found = list(assembler.feed(enumerate([*snapshot, heartbeat(11).value, *later], start=10)))
    assert [t.lsn for t in found] == [10, 11, 20]
    assert not assembler.waiting_for_snapshot


def test_an_unfinished_transaction_holds_the_offset_back_and_the_position_not() -> None:
    """Two writers overlap: the later transaction has begun when the earlier one ends, and may still be completed."""
    one, two = values(commit(10, insert(d, id=0), xid="1")), values(commit(20, insert(d, id=1), xid="2"))
    found = list(Assembler(0).feed(enumerate([two[0], *one, heartbeat(11).value], start=5)))
    assert [(type(f), f.lsn, f.next_offset) for f in found] == [(Transaction, 10, 5), (Heartbeat, 11, 5)]


def test_what_began_below_the_position_does_not_hold_the_offset_back() -> None:
    """A woken relay sent the start of a transaction again whose whole is applied: its END will not come."""
    one, two = values(commit(10, insert(d, id=0), xid="1")), values(commit(20, insert(d, id=1), xid="2"))
    found = list(Assembler(10).feed(enumerate([one[0], *two, heartbeat(25).value], start=5)))
    assert [(type(f), f.lsn, f.next_offset) for f in found] == [(Transaction, 20, 9), (Heartbeat, 25, 10)]


def test_infinite_and_ancient_times_pass_through() -> None:
    there = (
        row(d, id=0, value=1)
        | {name: DOMAINS["d"][name][-2] for name in ("day", "seen")}
        | {"at": DOMAINS["d"]["at"][-1]}
    )
    (found,) = after(PLAIN, [commit(10, Event(d, "c", after=there))]).values()
    assert found[4:7] == (-63517780800000000, -(1 << 63), (1 << 31) - 1)
