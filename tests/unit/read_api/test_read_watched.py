"""Events lead from whatever state a watcher has to the newest one, whichever states lie between or were forgotten."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from command_api.lsn import Lsn
from read_api.watched import MOST_STATES, History, State, digest_of

ROWS = st.dictionaries(st.integers(0, 5), st.integers(0, 3), max_size=5)


def state(rows: dict[int, int], lsn: int = 1) -> State:
    encoded = {
        (str(key),): json.dumps({"p": "x", "k": key, "v": value}).encode() for key, value in sorted(rows.items())
    }
    return State(rows=encoded, covered=Lsn(lsn))


class Watcher:
    """A client: the rows that it has by what it was sent."""

    def __init__(self) -> None:
        self.rows: dict[int, int] = {}
        self.last_id: str | None = None
        self.kinds: list[str] = []

    def sent(self, event: bytes) -> None:
        if not event:
            return
        kind, ident, data = (line.partition(": ")[2] for line in event.decode().strip().split("\n"))
        body: dict[str, Any] = json.loads(data)
        self.kinds.append(kind)
        self.last_id = ident
        if kind == "snapshot":
            self.rows = {row["k"]: row["v"] for row in body["rows"]}
            return
        for key in body["deleted"]:
            assert key == {"p": "x", "k": key["k"]}
            del self.rows[key["k"]]
        for row in body["upserted"]:
            self.rows[row["k"]] = row["v"]


@given(st.lists(st.tuples(ROWS, st.booleans()), min_size=1, max_size=60))
def test_a_watcher_has_the_newest_rows_after_each_event_however_many_it_missed(
    steps: list[tuple[dict[int, int], bool]],
) -> None:
    history, watcher = History(state({}), ("p", "k")), Watcher()
    watcher.sent(history.event(None))
    for lsn, (rows, looks) in enumerate(steps, start=2):
        history.add(state(rows, lsn))
        if looks:
            held = digest_of(watcher.last_id or "")
            watcher.sent(history.event(held))
            assert watcher.rows == rows
            assert history.event(digest_of(watcher.last_id or "")) == b""


def test_who_comes_back_with_a_known_state_gets_the_difference_and_else_everything() -> None:
    history, watcher = History(state({1: 1, 2: 2}), ("p", "k")), Watcher()
    watcher.sent(history.event(None))
    history.add(state({1: 1, 3: 3}, 5))
    watcher.sent(history.event(digest_of(watcher.last_id or "")))
    assert (watcher.kinds, watcher.rows) == (["snapshot", "change"], {1: 1, 3: 3})
    assert watcher.last_id is not None
    assert watcher.last_id.startswith("0/5-")
    for number in range(MOST_STATES + 1):
        history.add(state({1: 10 + number}, 6 + number))
    for stranger in (digest_of(watcher.last_id), digest_of("garbled"), digest_of("")):
        again = Watcher()
        again.sent(history.event(stranger))
        assert (again.kinds, again.rows) == (["snapshot"], {1: 10 + MOST_STATES})


def test_a_position_that_goes_on_alone_is_no_event() -> None:
    history = History(state({1: 1}), ("p", "k"))
    assert not history.add(state({1: 1}, 9))
    assert history.event(state({1: 1}).digest) == b""
    assert history.newest.covered == 9


def test_an_event_says_the_position_of_now_and_none_of_before_is_kept() -> None:
    history = History(state({1: 1}), ("p", "k"))
    history.add(state({1: 2}, 2))
    held = state({1: 1}).digest
    history.event(held)
    history.add(state({1: 2}, 9))
    assert b'"covered_lsn":"0/9"' in history.event(held)
    assert len(history._steps) == 1


def test_rows_that_stay_as_they_are_are_held_once() -> None:
    history = History(state({1: 1, 2: 2}), ("p", "k"))
    before = history.newest
    history.add(state({1: 1, 2: 3}, 2))
    assert history.newest.rows["1",] is before.rows["1",]
    assert history.newest.digest == state({1: 1, 2: 3}).digest


def test_json_with_line_breaks_stays_one_data_line() -> None:
    typed = State(rows={("1",): b'{"k":1,"j":{"a":\r\n 1,\n"b":2}}'}, covered=Lsn(1))
    (data,) = (line for line in History(typed, ("k",)).event(None).splitlines() if line.startswith(b"data: "))
    assert json.loads(data.removeprefix(b"data: "))["rows"] == [{"k": 1, "j": {"a": 1, "b": 2}}]
