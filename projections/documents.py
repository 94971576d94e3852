"""Embedded documents: a bounded, ordered list of child rows in a column of their parent's row.

`embedded` gives two columns of a select(): the list, and beside it a boolean that says whether there were more rows
than the bound. Both are SQLAlchemy expressions that print as PostgreSQL's own SQL, so that the select() stays the
contract, and that keep `rows` and `bound` for whoever takes the select() apart:

    (SELECT coalesce(json_agg(json_build_object('city', d.city)), '[]'::json)
     FROM (SELECT … FROM addresses WHERE addresses.user_id = users.user_id ORDER BY … LIMIT 20) AS d)   AS addresses,
    EXISTS (SELECT 1 FROM addresses WHERE addresses.user_id = users.user_id OFFSET 20)                  AS addresses_truncated

Correlation is a scalar subquery's: what stands in the FROM of `rows` by itself and in the enclosing select() too is the
enclosing row's. Promised: rows are in the declared order and never more than the bound; no document is null, one
without rows is the empty list. The order must be total, or Postgres and the engine may choose different rows of equals.
Not promised here: that the order is total, and that rows can be maintained; both are the compile's questions. The
values of a document are `projections.document_values`' affair.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    CompoundSelect,
    Label,
    Select,
    TextualSelect,
    exists,
    func,
    literal_column,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.visitors import InternalTraversal

from projections.document_values import from_postgres
from projections.inferred import column_type
from projections.read_model import DeclarationError
from projections.values import DOCUMENT_FIELDS, DocumentType, UnsupportedTypeError

__all__ = ["Embedded", "Truncated", "embedded", "from_postgres", "truncation_markers"]

MOST_ROWS = 1_000
MOST_FIELDS = 50  # json_build_object takes 100 arguments
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


class _OfRows(ColumnElement[Any]):
    """What both columns keep. rows: the select() of the child rows, ordered. bound: the most rows of a document."""

    __visit_name__ = "of_rows"
    inherit_cache = True
    _traverse_internals = [("rows", InternalTraversal.dp_clauseelement), ("bound", InternalTraversal.dp_plain_obj)]

    rows: Select[Any]
    bound: int

    def __init__(self, rows: Select[Any], bound: int) -> None:
        self.rows = rows
        self.bound = bound

    def self_group(self, against: Any = None) -> Any:
        """Itself: both print with parentheses of their own."""
        return self

    def _correlated(self, rows: Select[Any]) -> Select[Any]:
        # Two levels down SQLAlchemy correlates only what is named; what the enclosing select() lacks is kept in FROM.
        return rows.correlate(*rows.get_final_froms()) if rows._auto_correlate else rows


class Embedded(_OfRows):
    """The list of the first `bound` rows, in their order, each an object; json in Postgres."""

    __visit_name__ = "embedded_rows"
    inherit_cache = True

    def __init__(self, rows: Select[Any], bound: int) -> None:
        super().__init__(rows, bound)
        self.type = DocumentType(tuple((str(column.name), column_type(column)) for column in rows.selected_columns))

    def as_postgres(self) -> ColumnElement[Any]:
        """The same in SQLAlchemy's own elements."""
        inner = self._correlated(self.rows.limit(literal_column(str(self.bound)))).subquery("d")
        arguments = [part for column in inner.c for part in (literal_column(f"'{column.name}'"), column)]
        return select(
            func.coalesce(func.json_agg(func.json_build_object(*arguments)), literal_column("'[]'::json"))
        ).scalar_subquery()


class Truncated(_OfRows):
    """Whether there are more rows than `bound`."""

    __visit_name__ = "truncated_rows"
    inherit_cache = True
    type = Boolean()

    def as_postgres(self) -> ColumnElement[Any]:
        """The same in SQLAlchemy's own elements."""
        rows: Select[Any] = self.rows.order_by(None).with_only_columns(literal_column("1"), maintain_column_froms=True)
        return exists(self._correlated(rows.offset(literal_column(str(self.bound)))).scalar_subquery())


@compiles(Embedded)
@compiles(Truncated)
def _print(element: Embedded | Truncated, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.as_postgres(), **options)


def embedded(name: str, rows: Select[Any], *, bound: int) -> tuple[Label[Any], Label[bool]]:
    """The columns `name`, a list of the first `bound` of `rows`, and ``<name>_truncated``, a boolean.

    rows: a select() of the child rows, joined to the parent in its WHERE, with an ORDER BY that leaves no two rows of
    a parent equal. Raises DeclarationError.
    """
    if not 1 <= bound <= MOST_ROWS:
        raise DeclarationError(
            f"embedded {name!r}: bound={bound} is outside 1..{MOST_ROWS}: a longer list is a read model of its own"
        )
    _check_clauses(name, rows)
    names = [str(getattr(column, "name", column)) for column in rows.selected_columns]
    for field in names:
        if not _NAME.fullmatch(field):
            raise DeclarationError(f"embedded {name!r}: field {field!r} must match {_NAME.pattern}: give it a .label()")
        if names.count(field) > 1:
            raise DeclarationError(f"embedded {name!r}: two fields are named {field!r}: give one a .label()")
    if len(names) > MOST_FIELDS:
        raise DeclarationError(f"embedded {name!r}: {len(names)} fields, at most {MOST_FIELDS} are possible")
    for column in rows.selected_columns:
        try:
            kind = column_type(column).kind
        except UnsupportedTypeError as error:
            raise DeclarationError(f"embedded {name!r}: field {column.name!r}: {error}") from error
        if kind not in DOCUMENT_FIELDS:
            raise DeclarationError(
                f"embedded {name!r}: field {column.name!r} is of kind {kind}, which a document does not hold: cast it to text"
            )
    return Embedded(rows, bound).label(name), Truncated(rows, bound).label(f"{name}_truncated")


def _check_clauses(name: str, rows: Select[Any]) -> None:
    if not isinstance(rows, Select):
        raise DeclarationError(f"embedded {name!r}: {type(rows).__name__} is no plain select(): embed one select()")
    if not rows._order_by_clauses:
        raise DeclarationError(
            f"embedded {name!r}: the rows have no ORDER BY, so that the first bound= ones are any: add .order_by() with a total"
            " order, one that ends in the rows' primary key"
        )
    clauses = {
        "LIMIT or OFFSET": any(c is not None for c in (rows._limit_clause, rows._offset_clause, rows._fetch_clause)),
        "DISTINCT": bool(rows._distinct or rows._distinct_on),
        "GROUP BY": bool(rows._group_by_clauses or rows._having_criteria),
    }
    for clause, present in clauses.items():
        if present:
            raise DeclarationError(f"embedded {name!r}: the rows have {clause}: leave it out, bound= is their limit")


def truncation_markers(statement: Select[Any] | CompoundSelect[Any] | TextualSelect) -> tuple[str, ...]:
    """Names of the output columns of a select() that say whether a document was cut at its bound."""
    return tuple(str(c.name) for c in statement.selected_columns if isinstance(unlabelled(c), Truncated))


def unlabelled(column: Any) -> Any:
    """The expression below its labels."""
    while isinstance(column, Label):
        column = column.element
    return column
