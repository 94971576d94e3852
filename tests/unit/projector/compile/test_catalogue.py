"""The catalogue names everything that the translator accepts, and nothing that it refuses; its page is up to date.

The walk tries every operator of SQLAlchemy, every function that the server knows, and every cast between the sample's
kinds. What the translator accepts and Postgres can run must occur, with the same kinds of operands, in an example: each
example is compared with Postgres by `test_scalar_against_postgres`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Boolean, case, cast, extract, func, literal, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql import elements, functions, operators, visitors
from typer.testing import CliRunner

from projections.read_model import ReadModel
from projections.values import UnsupportedTypeError
from projector.__main__ import app
from projector.compile import agreement, casts, instants, scalar
from projector.compile.catalogue import AGGREGATES, REFUSALS, SAMPLE, SCALARS
from projector.compile.catalogue.page import markdown
from projector.compile.errors import CompileError
from projector.compile.program import compile_models
from projector.compile.scalar import Scalars
from tests.oracle.postgres import text_of
from tests.unit.projector.compile.against_postgres import example

ROOT = Path(__file__).resolve().parents[4]
COLUMNS = [column for column in SAMPLE.columns if column.name != "id" and not column.name.endswith("2")]
PLAIN = [SAMPLE.c[name] for name in ("i", "n", "t", "b", "day", "stamp", "tz", "clock", "uuid", "raw", "f", "doc")]
TEXTS = [SAMPLE.c.t.collate("C"), SAMPLE.c.code.collate("C")]
PARTS = [
    "century",
    "day",
    "decade",
    "dow",
    "doy",
    "epoch",
    "hour",
    "isodow",
    "isoyear",
    "julian",
    "microseconds",
    "millennium",
    "milliseconds",
    "minute",
    "month",
    "quarter",
    "second",
    "timezone",
    "week",
    "year",
]
Use = tuple[str, ...]


def translated(expression: Any) -> Any:
    """The tree, None when it is refused."""
    try:
        return Scalars({SAMPLE: 0}).translate(expression)
    except (CompileError, UnsupportedTypeError):
        return None


def kind(clause: Any) -> str:
    """What an operand is, as finely as a rule may depend on it."""
    if isinstance(clause, elements.BindParameter) and clause.expanding:
        return "list"
    if isinstance(clause, elements.Null | elements.True_ | elements.False_):
        return "constant"
    tree = translated(clause)
    if tree is None:
        return type(clause).__name__
    if tree.type.fixed_width_text:
        return "char"
    if tree.type.opaque:
        return f"opaque {tree.type.kind}"
    return "enum" if tree.type.collation == "enum" else str(tree.type.kind)


def uses(expression: Any) -> set[Use]:
    """Every operator, function and cast in an expression, each with the kinds of its operands."""
    found: set[Use] = set()
    for node in visitors.iterate(expression):
        match node:
            case elements.AsBoolean():  # how SQLAlchemy writes a boolean that is a condition
                continue
            case elements.BinaryExpression() if node.operator is operators.collate:
                continue
            case elements.BinaryExpression():
                right = node.right.clauses[0] if isinstance(node.right, elements.ExpressionClauseList) else node.right
                found.add((node.operator.__name__, kind(node.left), kind(right)))
            case elements.ExpressionClauseList() if node.operator in (*ARITHMETIC, operators.concat_op):
                first, *others = node.clauses
                found |= {(node.operator.__name__, kind(first), kind(other)) for other in others}
            case elements.UnaryExpression() if node.operator is not None:
                found.add((node.operator.__name__, kind(node.element)))
            case elements.Extract():
                found.add(("extract", node.field, kind(node.expr)))
            case elements.Cast():
                found.add(("cast", kind(node.clause), kind(literal(None, node.type).cast(node.type))))
            case elements.Case():
                found.add(("case", "searched" if node.value is None else "simple", kind(node.whens[0][1])))
            case functions.FunctionElement():
                parts = list(node.clauses)
                fields = [str(part.value) for part in parts if node.name == "date_trunc" and _is_text(part)]
                kinds = [kind(part) for part in parts if not fields or not _is_text(part)]
                found.add((node.name, *fields, *(sorted(set(kinds)) if node.name == "coalesce" else kinds)))
    return found


def _is_text(clause: Any) -> bool:
    return isinstance(clause, elements.BindParameter) and isinstance(clause.value, str)


LISTS = (operators.in_op, operators.not_in_op)
ARITHMETIC = (operators.add, operators.sub, operators.mul)
EXAMPLES = [text for entries in SCALARS.values() for entry in entries for text in entry.examples]
COVERED = {use for text in EXAMPLES for use in uses(example(text))}


def attempts() -> Iterator[Any]:
    """Expressions of every shape; most are refused."""
    named = {value for name, value in vars(operators).items() if callable(value) and not name.startswith("_")}
    named.remove(operators.collate)  # takes a name, not an operand; TEXTS has it
    operands = [*COLUMNS, *TEXTS]
    constants = [literal(2), literal("a"), None, [1, 2], ["a"], True]
    for operator in named:
        for left in operands:
            yield from _made(lambda o=operator, x=left: o(x))
            for right in (*operands, *constants) if operator not in LISTS else ([1, 2], ["a"], [True]):
                yield from _made(lambda o=operator, x=left, y=right: o(x, y))
    for left in operands:
        for right in operands:
            yield from _made(lambda x=left, y=right: x.between(y, y))
            yield from _made(lambda x=left, y=right: cast(x, y.type))
            yield from _made(lambda x=left, y=right: func.coalesce(x, y))
            yield from _made(lambda x=left, y=right: func.nullif(x, y, type_=x.type))
            yield from _made(lambda x=left, y=right: case((SAMPLE.c.b, x), else_=y))
            yield from _made(lambda x=left, y=right: case({1: "a"}, value=x, else_=y))
        for part in PARTS:
            yield extract(part, left)
            yield func.date_trunc(part, left, type_=left.type)
            yield func.date_trunc(part, left, "Europe/Berlin", type_=left.type)


def _made(make: Any) -> Iterator[Any]:
    try:
        made = make()
    except Exception:  # SQLAlchemy has its own opinion of what may meet
        return
    if isinstance(made, elements.ColumnElement):
        yield made


def calls(names: list[str]) -> Iterator[Any]:
    """Each function with no, one and two arguments."""
    arguments: list[tuple[Any, ...]] = [()]
    arguments += [(column,) for column in (*PLAIN, *TEXTS, SAMPLE.c.code, SAMPLE.c.mood)]
    arguments += [(column, column) for column in (*PLAIN, *TEXTS)]
    arguments += [("day", column) for column in PLAIN]
    arguments += list(product(PLAIN[:4], repeat=2))
    for name in names:
        for given in arguments:
            more = {"type_": given[-1].type} if given else {}
            yield from _made(lambda n=name, g=given, m=more: getattr(func, n)(*g, **m))


@pytest.fixture(scope="module")
def postgres(judge: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection with the sample as a temporary table."""
    with psycopg.connect(judge, autocommit=True) as connection:
        connection.execute("CREATE TYPE pg_temp.mood AS ENUM ('sad', 'ok', 'happy')")
        made = str(CreateTable(SAMPLE).compile(dialect=postgresql.dialect()))
        connection.execute(made.replace("CREATE TABLE", "CREATE TEMPORARY TABLE").encode())
        yield connection


def runs(postgres: psycopg.Connection[Any], expression: Any) -> bool:
    """Whether Postgres takes the expression at all."""
    try:
        postgres.execute(f"{text_of(select(expression.label('r')).select_from(SAMPLE))} LIMIT 0".encode())
    except (psycopg.Error, NotImplementedError):
        return False
    return True


def uncovered(postgres: psycopg.Connection[Any], expressions: Iterator[Any]) -> dict[Use, str]:
    found: dict[Use, str] = {}
    for expression in expressions:
        if translated(expression) is None:
            continue
        for use in uses(expression) - COVERED - found.keys():
            if runs(postgres, expression):
                found[use] = str(expression)
    return found


@pytest.fixture
def reasons_untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal quotes the expression; over 200,000 of them that took most of the time."""
    for module in (agreement, casts, instants, scalar):
        monkeypatch.setattr(module, "clause_text", lambda clause: "…")


# The walk tries what SQLAlchemy warns of.
@pytest.mark.usefixtures("reasons_untold")
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning", "ignore::sqlalchemy.exc.SADeprecationWarning")
def test_every_operator_that_is_accepted_is_listed(postgres: psycopg.Connection[Any]) -> None:
    assert uncovered(postgres, attempts()) == {}


@pytest.mark.usefixtures("reasons_untold")
def test_every_function_that_is_accepted_is_listed(postgres: psycopg.Connection[Any]) -> None:
    names = [name for (name,) in postgres.execute("select distinct proname::text from pg_proc").fetchall()]
    assert len(names) > 2_000
    names += ["coalesce", "nullif", "greatest", "least"]
    assert uncovered(postgres, calls(sorted(names))) == {}


def test_no_entry_is_without_a_test_or_a_name() -> None:
    for entry in (*(entry for entries in SCALARS.values() for entry in entries), *AGGREGATES):
        assert entry.examples, entry.name
        assert len(set(entry.examples)) == len(entry.examples), entry.name
    assert len(set(EXAMPLES)) == len(EXAMPLES)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_what_is_listed_as_refused_is_refused(refusal: Any) -> None:
    expression = example(refusal.example)
    condition = isinstance(expression.type, Boolean)
    statement = select(SAMPLE.c.id, *(() if condition else (expression.label("r"),)))
    model = ReadModel(name="m", select=statement.where(expression) if condition else statement, partition_key=("id",))
    with pytest.raises((CompileError, UnsupportedTypeError)):
        compile_models([model])


def test_the_page_is_what_the_code_says() -> None:
    assert (ROOT / "docs/functions.md").read_text() == markdown(), (
        "docs/functions.md is old: projector functions --markdown > docs/functions.md"
    )


def test_the_command_prints_the_table_and_the_page() -> None:
    shown = CliRunner().invoke(app, ["functions"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert all(entry.name.split()[0] in shown.output for entries in SCALARS.values() for entry in entries)
    assert CliRunner().invoke(app, ["functions", "--markdown"]).output == markdown()
