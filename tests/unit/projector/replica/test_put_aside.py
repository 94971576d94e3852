"""What a changed parent's entry keeps as text: places among children that have such a form, and values beyond ASCII."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, MetaData, Table, Text, func, select

from projections.read_model import ReadModel
from projector.apply.consume import Assembler
from projector.apply.step import Step
from projector.apply.transaction import Transaction
from projector.compile.program import compile_models
from projector.replica.schema import open_replica
from tests.oracle.history import Commit, Event
from tests.oracle.log import encoded
from tests.oracle.values import of

META = MetaData()
users = Table("users", META, Column("id", Integer, primary_key=True), Column("name", Text, nullable=False))
files = Table(
    "files",
    META,
    Column("digest", LargeBinary, primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("owner", Integer, ForeignKey(users.c.id), nullable=False),
)
BY_NUMBER = ReadModel(
    name="by_number",
    select=select(files.c.number, users.c.name).join(users, users.c.id == files.c.owner),
    partition_key=("number",),
)
pages = Table("pages", META, Column("title", Text, primary_key=True), Column("body", Text))
visits = Table("visits", META, Column("title", Text, primary_key=True), Column("who", Integer, primary_key=True))
BY_TITLE = ReadModel(
    name="by_title",
    select=select(
        pages.c.title,
        pages.c.body,
        select(func.count()).where(visits.c.title == pages.c.title).scalar_subquery().label("visits"),
    ),
    partition_key=("title",),
    budgets={"visits": timedelta(seconds=5)},
)


def transaction(lsn: int, *events: Event) -> Transaction:
    commit = Commit(str(lsn), events, {}, lsn - 1, lsn, (lsn - 1,) * len(events))
    (found,) = Assembler(0).feed(enumerate(value for _, value in encoded(commit)))
    assert isinstance(found, Transaction)
    return found


def user(op: str, name: str) -> Event:
    return Event(users, op, after={"id": of(1), "name": of(name)})


def test_children_with_a_binary_key_are_taken_at_once() -> None:
    program = compile_models([BY_NUMBER])
    step = Step(open_replica(None, program, "log"), program, most_keys=2)
    made = [Event(files, "c", after={"digest": of(bytes([n])), "number": of(n), "owner": of(1)}) for n in range(5)]
    step.take([transaction(10, user("c", "Ada"), *made)])
    assert step.take([transaction(20, user("u", "Bea"))], since=(10, 10)) == {"by_number": 5}
    assert not step.waiting


def test_what_waits_for_a_row_is_forgotten_when_it_is_written_whatever_its_letters() -> None:
    program = compile_models([BY_TITLE])
    step = Step(open_replica(None, program, "log"), program)
    for title in ("Cafe", "Café", "日本", 'a "quoted" \\ one'):
        page = {"title": of(title), "body": of("x")}
        lsn = len(title) * 100
        step.take([transaction(lsn, Event(pages, "c", after=page))])
        visit = Event(visits, "c", after={"title": of(title), "who": of(1)})
        assert step.take([transaction(lsn + 10, visit)], since=(lsn, lsn)) == {"by_title": 0}
        assert step.deferred.any
        step.take([transaction(lsn + 20, Event(pages, "u", after=page | {"body": of("y")}))], since=(lsn, lsn))
        assert not step.deferred.any, title
