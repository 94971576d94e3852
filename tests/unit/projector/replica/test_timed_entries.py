"""Columns with a budget: what waits, until when, what a storm costs, and which budgets are refused."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text, func, select

from projections.read_model import DeclarationError, ReadModel
from projector.apply.consume import Assembler
from projector.apply.step import Step
from projector.apply.transaction import Transaction
from projector.compile.errors import RefusedModelError
from projector.compile.explain import explain
from projector.compile.program import compile_models
from projector.replica.schema import ReplicaMismatchError, open_replica
from tests.oracle.history import Commit, Event
from tests.oracle.log import encoded
from tests.oracle.values import of

META = MetaData()
users = Table("users", META, Column("id", Integer, primary_key=True), Column("name", Text))
posts = Table(
    "posts",
    META,
    Column("id", Integer, primary_key=True),
    Column("author", Integer, ForeignKey(users.c.id), nullable=False),
    Column("body", Text),
)
follows = Table(
    "follows", META, Column("reader", Integer, primary_key=True), Column("author", Integer, primary_key=True)
)
likes = Table("likes", META, Column("post", Integer, primary_key=True), Column("user", Integer, primary_key=True))
count = select(func.count()).where(likes.c.post == posts.c.id).scalar_subquery()
FEED = ReadModel(
    name="feed",
    select=select(follows.c.reader, posts.c.id, posts.c.body, users.c.name, count.label("likes"))
    .join_from(follows, posts, posts.c.author == follows.c.author)
    .join(users, users.c.id == posts.c.author),
    partition_key=("reader",),
    clustering_key=("id",),
    budgets={"likes": timedelta(seconds=5)},
)
BY_ID = replace(
    FEED, select=select(posts.c.id, posts.c.body, count.label("likes")), partition_key=("id",), clustering_key=()
)
READERS = range(40)


class Replica:
    """A replica of one read model, stepped transaction by transaction at a time of the test's."""

    def __init__(self, model: ReadModel = FEED) -> None:
        self.now = 1_000.0
        self.program = compile_models([model])
        self.connection: sqlite3.Connection = open_replica(None, self.program, "log")
        self.step = Step(self.connection, self.program)
        self.step.deferred.clock = lambda: self.now
        self.lsn = 10
        made = [Event(users, "c", after={"id": of(1), "name": of("Ada")})]
        made += [Event(posts, "c", after={"id": of(p), "author": of(1), "body": of("hello")}) for p in (1, 2)]
        made += [Event(follows, "c", after={"reader": of(r), "author": of(1)}) for r in READERS]
        self.commit(*made, since=None)

    def commit(self, *events: Event, since: tuple[int, int] | None = (0, 0)) -> int:
        """The keys that a transaction touches at once."""
        begin, self.lsn = self.lsn, self.lsn + 10
        commit = Commit(str(self.lsn), events, {}, self.lsn - 1, self.lsn, (self.lsn - 1,) * len(events))
        (found,) = Assembler(0).feed(enumerate(value for _, value in encoded(commit)))
        assert isinstance(found, Transaction)
        return self.step.take([found], since=since and (begin, begin))["feed"]

    def like(self, user: int, post: int = 1) -> int:
        """Keys touched at once by a like."""
        return self.commit(Event(likes, "c", after={"post": of(post), "user": of(user)}))

    def flush(self, most: int = 1_000) -> int:
        """Keys touched by what is due."""
        return self.step.slice(most)["feed"] if self.step.deferred.waiting else 0

    def rows(self) -> set[tuple[Any, ...]]:
        """The whole rows of the touched keys."""
        (model,) = self.program.models
        return {tuple(row) for rows in self.step.present(model) for row in rows}


def test_a_storm_costs_one_entry_and_one_write_a_copy() -> None:
    replica = Replica()
    for user in range(100):
        assert replica.like(user) == 0
        replica.now += 0.04
        assert replica.flush() == 0
    assert replica.connection.execute("SELECT count(*) FROM main.deferred").fetchone() == (1,)
    assert replica.step.deferred.progress()["feed"].pending == len(READERS)
    assert replica.step.deferred.saved["feed"] == 99 * len(READERS)
    replica.now += 1.1
    assert replica.flush() == len(READERS)
    assert replica.rows() == {(reader, 1, "hello", "Ada", 100) for reader in READERS}
    assert replica.step.deferred.progress() == {}
    assert (replica.flush(), replica.step.deferred.any) == (0, False)


def test_the_position_is_held_before_the_oldest_change_that_waits() -> None:
    replica = Replica()
    before = replica.lsn
    replica.like(1)
    replica.like(2, post=2)
    replica.like(3)
    held = replica.step.deferred.progress()["feed"]
    assert (held.since, held.pending, held.entries) == (before, 2 * len(READERS), 0)
    replica.now += 5
    replica.flush(most=len(READERS))
    assert replica.step.deferred.progress()["feed"].since == before + 10


def test_other_columns_are_not_held_back_and_carry_the_column_with_them() -> None:
    replica = Replica()
    replica.like(1)
    assert replica.commit(Event(posts, "u", after={"id": of(1), "author": of(1), "body": of("edited")})) == len(READERS)
    assert replica.rows() == {(reader, 1, "edited", "Ada", 1) for reader in READERS}


def test_what_waits_for_a_row_that_is_written_anyway_waits_no_longer() -> None:
    replica = Replica(BY_ID)
    replica.like(1)
    replica.like(1, post=2)
    edited = Event(posts, "u", after={"id": of(1), "author": of(1), "body": of("edited")})
    assert replica.commit(edited) == 1
    assert replica.rows() == {(1, "edited", 1)}
    assert replica.step.deferred.progress()["feed"].pending == 1, "the other post's"
    replica.now += 5
    assert replica.flush() == 1
    assert replica.rows() == {(2, "hello", 1)}


def test_a_change_during_a_flush_waits_for_a_budget_of_its_own() -> None:
    replica = Replica()
    replica.like(1)
    replica.now += 5
    assert replica.flush(most=10) == 10
    replica.like(2)
    while replica.flush(most=10):
        pass
    assert replica.step.deferred.progress()["feed"].pending == len(READERS), "the first ten have not shown it"
    replica.now += 4.9
    assert replica.flush() == 0
    replica.now += 0.2
    assert replica.flush() == len(READERS)
    assert replica.rows() == {(reader, 1, "hello", "Ada", 2) for reader in READERS}
    assert not replica.step.deferred.any


def test_many_small_entries_are_one_slice() -> None:
    replica = Replica()
    replica.like(1)
    replica.like(1, post=2)
    replica.now += 5
    assert replica.flush() == 2 * len(READERS)


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    replica = Replica()
    replica.like(1)
    replica.now -= 3_600
    assert replica.flush() == len(READERS)


def test_a_rolled_back_like_waits_for_nothing() -> None:
    replica = Replica()
    replica.connection.execute("BEGIN")
    replica.like(1)
    replica.connection.execute("ROLLBACK")
    replica.step.reset()
    assert (replica.step.deferred.any, replica.step.deferred.progress()) == (False, {})


def test_what_waits_for_a_budget_that_is_gone_makes_the_replica_anew(tmp_path: Any) -> None:
    path = tmp_path / "replica.sqlite"
    program = compile_models([BY_ID])
    connection = open_replica(path, program, "log")
    connection.execute(
        "INSERT INTO main.deferred (model, statement, parent, since, since_at, done, total, due)"
        " SELECT 'feed', 'of another declaration', '[1]', 1, 1, 0, 1, 1"
    )
    connection.close()
    with pytest.raises(ReplicaMismatchError, match="set of read models"):
        open_replica(path, program, "log")


def test_explain_says_what_waits() -> None:
    program = compile_models([FEED])
    text = explain(program, program.models[0])
    assert "changes nothing but likes, and waits up to 5 s" in text


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ({"name": 5}, None),
        ({"body": 5}, "the budget of column body: posts gives the key column id too"),
        ({"likes": 5, "body": 5}, "the budget of column body: posts gives the key column id too"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(budgets: dict[str, int], said: str | None) -> None:
    model = replace(FEED, budgets={name: timedelta(seconds=seconds) for name, seconds in budgets.items()})
    if said is None:
        compile_models([model])
        return
    with pytest.raises(RefusedModelError, match=said):
        compile_models([model])


def test_a_budget_stays_below_the_staleness() -> None:
    with pytest.raises(DeclarationError, match="'likes' must be below the staleness"):
        replace(FEED, staleness=timedelta(seconds=5))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            select(follows.c.reader, follows.c.author, users.c.name, (users.c.id + 1).label("next")).join_from(
                follows, users, users.c.id == follows.c.author, isouter=True
            ),
            "users gives the column next too, which is not to wait",
        ),
        (
            select(follows.c.reader, follows.c.author, users.c.name).join_from(
                follows, users, users.c.id == follows.c.author
            ),
            "users decides whether there is a row",
        ),
        (
            select(follows.c.reader, follows.c.author, users.c.name)
            .join_from(follows, users, users.c.id == follows.c.author, isouter=True)
            .where(func.coalesce(users.c.name, "") != "nobody"),
            "users stands in a condition on the rows",
        ),
    ],
)
def test_a_column_that_cannot_be_separated_is_named(statement: Any, said: str) -> None:
    model = ReadModel(
        name="m",
        select=statement,
        partition_key=("reader",),
        clustering_key=("author",),
        budgets={"name": timedelta(seconds=1)},
    )
    with pytest.raises(RefusedModelError, match=f"the budget of column name: {said}"):
        compile_models([model])
