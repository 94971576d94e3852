"""The histories that break groups kept by differences, each as small as it gets; the rule that each paid for is in its name."""

from __future__ import annotations

from typing import Any

import pytest

from projections.read_model import ReadModel
from projector.apply.step import MaintenanceError
from projector.replica import images
from tests.oracle import store
from tests.oracle.adverse_groups import ANTI, LEFT_MANY_TWICE, SELF_LEFT_MANY
from tests.oracle.adverse_subqueries import BESIDE, GROUP_IN_KEY
from tests.oracle.grouped_views import (
    BIG_SUMS,
    DISTINCTS,
    EXTREMES,
    HAVING,
    LEFT_MANY,
    LEFT_ONE,
    OF_PARENT,
    SELF_GROUP,
    SUMS,
)
from tests.oracle.history import Commit, Event
from tests.oracle.schema import d, m, t, x
from tests.oracle.subquery_views import CORRELATED, DOCUMENTS, WITH_GROUP
from tests.oracle.test_counter_examples import Player, after, commit, delete, insert, row, update, write

X0, X1 = insert(x, id=0, name="n"), insert(x, id=1, name="o")


def column(model: ReadModel, name: str, *batches: list[Commit]) -> dict[Any, Any]:
    """One column of what readers see, by the key's first column."""
    others = [other for other in model.columns if other not in model.key]
    return {key[0]: found[others.index(name)] for key, found in after(model, *batches).items()}


def two_workers(model: ReadModel, ahead: list[list[Commit]], behind: list[list[Commit]]) -> store.Table:
    """What is there when a worker has written its batches, and then another one its own of the same log."""
    table = store.Table(len(model.key), len(model.columns))
    for batches in (ahead, behind):
        player = Player(model)
        for commits in batches:
            write(table, player.batch(*commits))
    return table


def test_a_group_that_only_another_worker_saw_is_written_though_nothing_changed_in_sum() -> None:
    """Writing only non-zero differences: the row of the first worker's cut would stay for ever."""
    here, there = commit(10, insert(d, id=0, value=1)), commit(20, update(d, id=0, value=7))
    back = commit(30, update(d, id=0, value=1))
    table = two_workers(SUMS, [[here], [there]], [[here], [there, back]])
    assert {key[0]: found[0] for key, found in table.rows().items()} == {1: 1}


def test_a_group_that_keeps_its_sums_while_a_row_is_exchanged_is_written() -> None:
    """The row that goes is like the one that comes; between them another worker saw the group without it."""
    one, gone = commit(10, insert(d, id=0, value=1)), commit(20, delete(d, id=0))
    two = commit(30, insert(d, id=1, value=1))
    table = two_workers(DISTINCTS, [[one], [gone]], [[one], [gone, two]])
    assert {key[0]: found[2] for key, found in table.rows().items()} == {1: 1}


def test_a_document_whose_row_changed_is_written_though_no_row_came_or_went() -> None:
    first = commit(10, X0, insert(d, id=0, x_id=0, value=1, note="a"))
    other = commit(20, update(d, id=0, x_id=0, value=1, note="b"))
    again = commit(30, update(d, id=0, x_id=0, value=1, note="a"))
    assert '"b"' in column(DOCUMENTS, "ds", [first], [other])[0]
    assert '"a"' in column(DOCUMENTS, "ds", [first], [other], [again])[0]


def test_both_sides_of_a_join_change_in_one_batch() -> None:
    """Without the second-order term the pair of the new d and the new x counts twice."""
    both = [commit(10, X0), commit(20, insert(d, id=0, x_id=0, value=7))]
    assert column(OF_PARENT, "rows", both) == {"n": 1}
    assert column(OF_PARENT, "rows", both, [commit(30, update(x, id=0, name="o"), delete(d, id=0))]) == {}
    moved = commit(30, update(x, id=0, name="o"), insert(d, id=1, x_id=0, value=1))
    assert after(OF_PARENT, both, [moved]) == {("o",): (2, 8, 7, 2)}


def test_a_row_that_is_joined_to_itself_changes_on_both_sides() -> None:
    pair = insert(x, id=0, name="n", parent_id=1)
    assert column(SELF_GROUP, "pairs", [commit(10, pair)]) == {"n": 1}
    assert column(SELF_GROUP, "pairs", [commit(10, pair)], [commit(20, update(x, id=0, name="o", parent_id=1))]) == {
        "o": 1
    }
    own = commit(10, insert(x, id=0, name="n", parent_id=0))
    assert after(SELF_LEFT_MANY, [own], [commit(20, update(x, id=0, name="n"))]) == {(0,): (1, 0, None)}


def test_a_left_join_of_a_group_has_its_row_without_a_partner() -> None:
    alone = commit(10, insert(d, id=0, x_id=1, value=1))
    assert after(LEFT_ONE, [alone]) == {("none",): (1, 0, None)}
    joined = commit(20, insert(x, id=1, name="n", region="eu"))
    assert after(LEFT_ONE, [alone], [joined]) == after(LEFT_ONE, [alone, joined]) == {("eu",): (1, 1, 1)}
    assert after(LEFT_ONE, [alone, joined], [commit(30, delete(x, id=1))]) == {("none",): (1, 0, None)}


def test_the_row_without_a_partner_goes_once_however_many_partners_come() -> None:
    """Counted once a partner, two that come at once would leave the group with one row too few."""
    alone = commit(10, X0)
    two = commit(20, insert(d, id=0, x_id=0, value=1), insert(d, id=1, x_id=0, value=7))
    assert column(LEFT_MANY, "rows", [alone]) == {0: 1}
    for batches in ([[alone], [two]], [[alone, two]]):
        assert column(LEFT_MANY, "rows", *batches) == column(LEFT_MANY, "ds", *batches) == {0: 2}
    one_left = commit(30, delete(d, id=0))
    assert column(LEFT_MANY, "rows", [alone, two], [one_left]) == {0: 1}
    assert column(LEFT_MANY, "rows", [alone, two], [one_left, commit(40, delete(d, id=1))]) == {0: 1}
    assert column(LEFT_MANY, "ds", [alone, two], [one_left, commit(40, delete(d, id=1))]) == {0: 0}


def test_an_anti_join_takes_its_row_back_with_the_last_partner() -> None:
    start = commit(10, X0, insert(d, id=0, x_id=0), insert(d, id=1, x_id=0))
    assert after(ANTI, [start]) == after(ANTI, [start], [commit(20, delete(d, id=0))]) == {}
    gone = [commit(20, delete(d, id=0)), commit(30, delete(d, id=1))]
    assert column(ANTI, "rows", [start], gone) == column(ANTI, "rows", [start, *gone]) == {"n": 1}


def test_two_left_joins_multiply_and_neither_loses_the_others_rows() -> None:
    ds = [insert(d, id=i, x_id=0) for i in range(2)]
    ts = [insert(t, tag=tag, x_id=0, title="T") for tag in ("a", "b")]
    for batches in ([[commit(10, X0, *ds, *ts)]], [[commit(10, X0)], [commit(20, *ds)], [commit(30, *ts)]]):
        assert column(LEFT_MANY_TWICE, "rows", *batches) == {0: 4}
    assert column(LEFT_MANY_TWICE, "rows", [commit(10, X0, *ds, *ts)], [commit(20, Event(t, "t"))]) == {0: 2}


def test_states_within_a_batch_do_not_count() -> None:
    steps = [commit(10 + i, update(d, id=0, value=1, amount=None)) for i in range(5)]
    assert column(SUMS, "rows", [commit(9, insert(d, id=0, value=1)), *steps]) == {1: 1}
    assert column(SUMS, "rows", [commit(9, insert(d, id=0, value=1))], steps) == {1: 1}


def test_a_value_counts_as_distinct_until_its_last_row_goes() -> None:
    two = commit(10, *(insert(d, id=i, value=1, note="a") for i in range(2)))
    assert (
        column(DISTINCTS, "notes", [two]) == column(DISTINCTS, "notes", [two], [commit(20, delete(d, id=0))]) == {1: 1}
    )
    assert column(DISTINCTS, "notes", [two], [commit(20, update(d, id=0, value=1))]) == {1: 1}


def test_the_maximum_falls_when_its_only_row_goes() -> None:
    rows = commit(10, *(insert(d, id=i, value=1, flag=True) for i in range(3)))
    assert column(EXTREMES, "last_flagged", [rows], [commit(20, delete(d, id=2))]) == {1: 1}
    assert column(EXTREMES, "last_flagged", [rows], [commit(20, update(d, id=2, value=1))]) == {1: 1}


def test_a_group_without_rows_is_deleted_by_delete_key_change_and_truncate() -> None:
    there = commit(10, insert(d, id=0, value=1))
    for event in (delete(d, id=0), Event(d, "t"), update(d, id=0, value=7)):
        assert 1 not in column(SUMS, "rows", [there], [commit(20, event)])


def test_having_lets_a_group_in_and_out_within_one_batch() -> None:
    """A condition on the aggregate as it is now says nothing of what it was: it must not restrict touch."""
    one, two = commit(10, insert(d, id=0, value=1)), commit(20, insert(d, id=1, value=1))
    gone = commit(30, delete(d, id=0))
    table = two_workers(HAVING, [[one, two]], [[one], [two, gone]])
    assert table.rows() == {}


def test_a_row_beside_its_own_group_follows_what_others_do_to_the_group() -> None:
    first = commit(10, insert(d, id=0, x_id=0, value=1, flag=True))
    assert after(BESIDE, [first], [commit(20, insert(d, id=1, x_id=0, value=7))])[1, 0][:2] == (2, 7)


def test_the_key_moves_when_the_group_of_a_left_join_comes_or_goes() -> None:
    first = commit(10, X0, insert(d, id=0, x_id=0, value=1))
    second = commit(20, insert(d, id=1, x_id=0, value=1))
    assert set(after(GROUP_IN_KEY, [first])) == {(-1, 0)}
    assert set(after(GROUP_IN_KEY, [first], [second])) == {(0, 0)}
    assert set(after(GROUP_IN_KEY, [first, second], [commit(30, delete(d, id=0))])) == {(-1, 0)}


def test_a_left_joined_count_is_null_and_a_correlated_one_zero() -> None:
    alone = commit(10, X0)
    assert (column(WITH_GROUP, "n", [alone]), column(CORRELATED, "ds", [alone])) == ({0: None}, {0: 0})
    gone = [commit(20, insert(d, id=0, x_id=0), insert(m, d_id=0, tag="a", weight=1)), commit(30, delete(d, id=0))]
    assert column(CORRELATED, "heaviest", [alone, gone[0]]) == {0: 1}
    assert column(CORRELATED, "heaviest", [alone, gone[0]], [gone[1]]) == {0: -1}


@pytest.mark.parametrize("part", [1, 2, 20_000])
def test_a_batch_taken_in_parts_counts_each_row_once(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part's images begin where the part before it ended, also behind a TRUNCATE and a second snapshot."""
    monkeypatch.setattr(images, "PART", part)
    first = commit(10, *(insert(d, id=i, value=1) for i in range(3)))
    again = commit(20, *(Event(d, "r", after=row(d, id=i, value=1)) for i in range(3)), xid="snapshot", start=20)
    turns = commit(30, *(update(d, id=i, value=v) for v in (7, 1, 7) for i in range(3)))
    empty = commit(40, Event(d, "t"), insert(d, id=1, value=0), update(d, id=1, value=1))
    assert column(SUMS, "rows", [first, again]) == column(SUMS, "rows", [first], [again]) == {1: 3}
    assert column(SUMS, "rows", [first, again, turns]) == column(SUMS, "rows", [first], [again, turns]) == {7: 3}
    assert column(SUMS, "rows", [first, again, turns, empty]) == column(SUMS, "rows", [first], [turns, empty]) == {1: 1}


def test_a_sum_beyond_64_bits_is_an_error_and_no_float() -> None:
    largest = (1 << 63) - 1
    one = commit(10, insert(d, id=0, value=1, big=largest))
    assert column(BIG_SUMS, "bigs", [one]) == {2: largest}
    with pytest.raises(MaintenanceError, match=r"sum\(d\.big\) of the group \(2\) over d leaves the 64 bits"):
        after(BIG_SUMS, [one], [commit(20, insert(d, id=1, value=1, big=1))])
    with pytest.raises(MaintenanceError, match="leaves the 64 bits"):
        after(BIG_SUMS, [one, commit(20, insert(d, id=1, value=1, big=1))])
