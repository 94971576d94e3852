"""Typed expression trees over occurrences of source tables, and their printing as SQLite SQL.

A tree is printed against a *resolver* that says what a column of an occurrence is in the statement at hand: a column of
the replica's table, of its images, or NULL where a left join found no partner. Values are in replica form
(`projections.values`), so equality and order of printed expressions are SQLite's own on integers, text and blobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from projections.values import ValueType

Resolver = Callable[[int, str], str]
"""(occurrence, column name) to SQL text."""


@dataclass(frozen=True, kw_only=True)
class Expression:
    """A node.

    type: of its values. nullable: False when it is proved never NULL as long as no occurrence is null-extended.
    """

    type: ValueType
    nullable: bool = True

    def sql(self, resolve: Resolver) -> str:
        """SQLite text, parenthesized where an operator could bind to it."""
        raise TypeError(f"{type(self).__name__} has no text")

    def columns(self) -> Iterator[Column]:
        """Every column reference below, with repeats."""
        return iter(())

    def occurrences(self) -> frozenset[int]:
        """The occurrences referred to."""
        return frozenset(column.occurrence for column in self.columns())

    def strict_in(self) -> frozenset[int]:
        """Occurrences whose null-extension is sure to make this expression NULL."""
        return frozenset()


@dataclass(frozen=True, kw_only=True)
class Column(Expression):
    """A column of an occurrence (its index in the model's FROM order)."""

    occurrence: int
    name: str

    def sql(self, resolve: Resolver) -> str:
        return resolve(self.occurrence, self.name)

    def columns(self) -> Iterator[Column]:
        yield self

    def strict_in(self) -> frozenset[int]:
        return frozenset((self.occurrence,))


@dataclass(frozen=True, kw_only=True)
class Constant(Expression):
    """A value in replica form; None is NULL."""

    value: int | str | bytes | None

    def sql(self, resolve: Resolver) -> str:
        return literal(self.value)


@dataclass(frozen=True, kw_only=True)
class Operation(Expression):
    """A template with one ``{}`` an argument.

    strict: NULL in any argument is sure to make it NULL.
    equality: it is ``argument = argument``, which may find rows through an index.
    not_null_test: it is ``argument IS NOT NULL``.
    """

    template: str
    arguments: tuple[Expression, ...]
    strict: bool = True
    equality: bool = False
    not_null_test: bool = False

    def sql(self, resolve: Resolver) -> str:
        return self.template.format(*(argument.sql(resolve) for argument in self.arguments))

    def columns(self) -> Iterator[Column]:
        for argument in self.arguments:
            yield from argument.columns()

    def strict_in(self) -> frozenset[int]:
        if not self.strict:
            return frozenset()
        return frozenset().union(*(argument.strict_in() for argument in self.arguments))


@dataclass(frozen=True, kw_only=True)
class Conjunction(Expression):
    """``a AND b AND …``; the analysis takes it apart into its terms. As a value it may be false where one term is NULL."""

    terms: tuple[Expression, ...]

    def sql(self, resolve: Resolver) -> str:
        return "(" + " AND ".join(term.sql(resolve) for term in self.terms) + ")"

    def columns(self) -> Iterator[Column]:
        for term in self.terms:
            yield from term.columns()


def terms_of(condition: Expression) -> tuple[Expression, ...]:
    """A condition as the terms that must all hold."""
    if isinstance(condition, Conjunction):
        return tuple(term for part in condition.terms for term in terms_of(part))
    return (condition,)


def null_rejecting(condition: Expression) -> frozenset[int]:
    """Occurrences for which a null-extended row can never satisfy the condition (one term of a WHERE or ON)."""
    if isinstance(condition, Operation) and condition.not_null_test:
        return condition.arguments[0].strict_in()
    return condition.strict_in()


def equalities(terms: tuple[Expression, ...], occurrence: int) -> list[tuple[str, Expression]]:
    """(column of the occurrence, expression free of it) for each term that equates the two."""
    pairs = []
    for term in terms:
        if isinstance(term, Operation) and term.equality:
            for column, other in (term.arguments, term.arguments[::-1]):
                if (
                    isinstance(column, Column)
                    and column.occurrence == occurrence
                    and occurrence not in other.occurrences()
                ):
                    pairs.append((column.name, other))
    return pairs


def literal(value: int | str | bytes | None) -> str:
    """A SQLite literal."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text constant holds a NUL character, which Postgres can't")
        return "'" + value.replace("'", "''") + "'"
    return str(int(value)) if value >= 0 else f"({int(value)})"


def identifier(name: str) -> str:
    """A quoted SQLite identifier."""
    return '"' + name.replace('"', '""') + '"'
