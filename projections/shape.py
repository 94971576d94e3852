"""What of a declaration is stored: a read model's shape, and whether another declaration's fits the table that is there.

Two declarations of the same shape fill a table with the same rows, so either's process may go on where the other's
stopped. Staleness, owner, budgets and a schedule's times are no part of a shape: they say when rows are written and who
reads them, never what they hold. The SQL of a scheduled read model is none either: what its table holds is what its last
run gave, and its next run writes the difference.

Shapes are compared by the SQL that Postgres would run. Doubt is `Different`: SQL that is written otherwise and means the
same, or that another version of SQLAlchemy prints otherwise, is. So is a column added before one whose SQL has an unnamed
alias or subquery, because SQLAlchemy numbers those: name it, or add the column at the end. Pure; a shape survives JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, exc
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import PGCompiler

from projections.read_model import ReadModel
from projections.refreshed import maintained
from projections.values import Kind, ValueType

FORMAT = 1
_DIGITS = 16


class ShapeFormatError(ValueError):
    """A text that is no shape; the message says what was found instead."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a read model's table holds.

    columns: name to CQL type; a document's is the list of its fields, since the name of its type is its table's.
    kinds: name to what the CQL type alone does not say: an instant and an integer are both bigint.
    partition_key, clustering: names, and (name, descending) in order.
    expressions: name to the column's SQL. rest: the select() without its columns. Both are Postgres's, with values in place.
    scheduled: whether the table holds what Postgres computes on a schedule.
    bucket, fan_out: the declared time bucket and fan-out policy, None without one.
    """

    columns: dict[str, str]
    kinds: dict[str, str]
    partition_key: tuple[str, ...]
    clustering: tuple[tuple[str, bool], ...]
    expressions: dict[str, str]
    rest: str
    scheduled: bool = False
    bucket: dict[str, Any] | None = None
    fan_out: dict[str, Any] | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """Partition key, then clustering key."""
        return self.partition_key + tuple(name for name, _ in self.clustering)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits: equal for equal shapes, and only for them."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:_DIGITS]

    def to_json(self) -> str:
        """One text for one shape, in whatever order its select() has its columns."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Shape:
        """The shape that `to_json` wrote; raises ShapeFormatError."""
        try:
            fields = json.loads(text)
            if (found := fields.pop("format")) != FORMAT:
                raise ShapeFormatError(f"a shape of format {found}, this release knows {FORMAT}: run the newer release")
            partition, clustering = fields.pop("partition_key"), fields.pop("clustering")
            return cls(
                partition_key=tuple(partition),
                clustering=tuple((str(name), bool(down)) for name, down in clustering),
                **fields,
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, ShapeFormatError):
                raise
            raise ShapeFormatError(f"no shape of a read model: {error!r}") from error


@dataclass(frozen=True)
class Same:
    """The table serves the other declaration as it is."""


@dataclass(frozen=True)
class Additive:
    """The table serves the other declaration once it has these columns, none of them in the key, and their values."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Different:
    """The other declaration needs a table of its own. reasons: what differs, each a sentence; at least one."""

    reasons: tuple[str, ...]


def shape_of(model: ReadModel) -> Shape:
    """The shape of a declaration."""
    columns = model.columns
    expressions, rest = _sql(maintained(model).select)
    return Shape(
        columns={name: _cql(kind) for name, kind in columns.items()},
        kinds={name: _kind(kind) for name, kind in columns.items()},
        partition_key=model.partition_key,
        clustering=tuple((c.column, c.descending) for c in model.clustering),
        expressions=dict(zip(columns, expressions, strict=True)),
        rest=rest,
        scheduled=model.refresh is not None,
        bucket=_bucket(model),
        fan_out=_fan_out(model),
    )


def compare(old: Shape, new: Shape) -> Same | Additive | Different:
    """Whether a table of the shape `old` serves a declaration of the shape `new`."""
    reasons = tuple(_reasons(old, new))
    if reasons:
        return Different(reasons)
    added = tuple(name for name in new.columns if name not in old.columns)
    return Additive(added) if added else Same()


def _reasons(old: Shape, new: Shape) -> Iterator[str]:
    if old.partition_key != new.partition_key or old.clustering != new.clustering:
        yield f"the key was {_key(old)} and is {_key(new)}"
    for name in old.columns:
        if name not in new.columns:
            yield f"column {name!r} is not selected any more"
        elif old.columns[name] != new.columns[name]:
            yield f"column {name!r} was {old.columns[name]} in Cassandra and is {new.columns[name]}"
        elif old.kinds[name] != new.kinds[name]:
            yield f"column {name!r} held {old.kinds[name]} and holds {new.kinds[name]}"
    if old.scheduled != new.scheduled:
        yield (
            "it was kept change by change and is refreshed on a schedule"
            if new.scheduled
            else ("it was refreshed on a schedule and is kept change by change")
        )
    elif old.scheduled:
        if old.rest != new.rest:
            yield "the columns of a scheduled read model changed: its rows come out of another table in Postgres"
    else:
        for name in old.expressions:
            if name in new.expressions and old.expressions[name] != new.expressions[name]:
                yield f"column {name!r} was {old.expressions[name]!r} and is {new.expressions[name]!r}"
        if old.rest != new.rest:
            yield f"what it selects from was {old.rest!r} and is {new.rest!r}"
    if old.bucket != new.bucket:
        yield f"the time bucket was {old.bucket} and is {new.bucket}"
    if old.fan_out != new.fan_out:
        was, is_ = old.fan_out or {}, new.fan_out or {}
        changed = sorted(name for name in was.keys() | is_.keys() if was.get(name) != is_.get(name))
        yield f"fan_out differs in {', '.join(changed)}: other rows are copied, or others are left out"


def _key(shape: Shape) -> str:
    clustering = "".join(f", {name}{' DESC' if descending else ''}" for name, descending in shape.clustering)
    return f"(({', '.join(shape.partition_key)}){clustering})"


def _cql(kind: ValueType) -> str:
    if kind.kind is not Kind.DOCUMENT:
        return kind.cql
    return f"frozen<list<({', '.join(f'{name} {_cql(of)}' for name, of in kind.fields)})>>"


def _kind(kind: ValueType) -> str:
    """What a stored value means. A precision only bounds values, and a collation orders none in Cassandra."""
    if kind.kind is Kind.DOCUMENT:
        return f"document ({', '.join(f'{name} {_kind(of)}' for name, of in kind.fields)})"
    if kind.kind is Kind.NUMERIC:
        return "numeric" if kind.scale is None else f"numeric with scale {kind.scale}"
    return "char" if kind.fixed_width_text else str(kind.kind)


def _bucket(model: ReadModel) -> dict[str, Any] | None:
    bucket = model.bucket
    if bucket is None:
        return None
    return {"column": bucket.column, "of": bucket.of, "days": bucket.days, "index": bucket.index.name}


def _fan_out(model: ReadModel) -> dict[str, Any] | None:
    """All of the policy: each part decides which copies there are, or which are merged from where."""
    policy = model.fan_out
    if policy is None:
        return None
    active = policy.active
    return {
        "author": policy.author,
        "edges": policy.edges.fullname,
        "edge_reader": policy.edge_reader,
        "edge_author": policy.edge_author,
        "threshold": policy.threshold,
        "back": policy.back,
        "cap": policy.cap,
        "pull": policy.pull.name,
        "following": policy.following.name,
        "active": active
        and {
            "table": active.table.fullname,
            "reader": active.reader,
            "seen": active.seen,
            "within_s": active.within.total_seconds(),
        },
    }


class _Parted(PGCompiler):
    """Prints a select() without its columns, and keeps them."""

    inner_columns: list[str]

    def _compose_select_body(
        self,
        text: str,
        select: Any,
        compile_state: Any,
        inner_columns: list[str],
        froms: Any,
        byfrom: Any,
        toplevel: bool,
        kwargs: Any,
    ) -> str:
        if toplevel:
            self.inner_columns, inner_columns = list(inner_columns), []
        body = super()._compose_select_body(  # type: ignore[no-untyped-call]
            text, select, compile_state, inner_columns, froms, byfrom, toplevel, kwargs
        )
        return str(body)


def _sql(statement: Select[Any]) -> tuple[list[str], str]:
    """The SQL of each selected column with its name, and of the rest."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    dialect.statement_compiler = _Parted  # type: ignore[assignment]  # psycopg's own differs in how it marks parameters
    values = ""
    try:
        compiled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    except (exc.CompileError, NotImplementedError):  # of a value that SQLAlchemy does not print
        compiled = statement.compile(dialect=dialect)
        values = "".join(f" /* {name} = {value!r} */" for name, value in sorted(compiled.params.items()))
    assert isinstance(compiled, _Parted), "the dialect's compiler"
    return compiled.inner_columns, compiled.string + values
