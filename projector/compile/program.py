"""All that a worker runs for a set of read models: the replica that they share, and each model's statements.

A source table stands in the replica once, with its primary key and just the columns that some model reads; an index is
made for each look-up that the generated statements make and the primary key doesn't serve.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import Table

from projections.read_model import ReadModel
from projections.refreshed import maintained
from projections.values import ValueType, value_type
from projector.compile.analyse import Analysis, analyse
from projector.compile.binding import Lookup, bind
from projector.compile.errors import RefusedError, RefusedModelError
from projector.compile.expression import identifier
from projector.compile.feed_check import check_feed
from projector.compile.group_program import GroupProgram, group_programs
from projector.compile.names import MINOR, WEIGHT, images_name, replica_name, touched_name
from projector.compile.newest import NewestStatement, newest_statement
from projector.compile.pushed import CREATE_FLIPS, FLIPS, FeedProgram, feed_program, pushed
from projector.compile.recompute import RecomputeStatements, recompute_statements
from projector.compile.touch import Minor, TouchStatement, touch_statements
from projector.feeds.tables import CREATE_PARTITIONS, PARTITIONS


@dataclass(frozen=True, kw_only=True)
class ReplicaTable:
    """A source table as the replica keeps it.

    name: ``schema.table`` as the log names it. fullname: the metadata's name. columns: name to type, the primary key
    first. key: the primary key's columns. indexes: column tuples looked up by. minor: columns that change often and that
    few read (when a reader was last seen); images of rows of which nothing else has changed are told apart.
    """

    name: str
    fullname: str
    columns: dict[str, ValueType]
    key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...]
    minor: frozenset[str] = frozenset()

    def create(self) -> list[str]:
        """CREATE statements of the table and its indexes."""
        columns = ", ".join(f"{identifier(name)} {kind.sqlite}" for name, kind in self.columns.items())
        key = ", ".join(identifier(name) for name in self.key)
        statements = [f"CREATE TABLE {replica_name(self.fullname)} ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID"]
        for index in self.indexes:
            name = identifier(f"{self.fullname} by {', '.join(index)}")
            on = ", ".join(identifier(column) for column in index)
            statements.append(f"CREATE INDEX main.{name} ON {identifier(self.fullname)} ({on})")
        return statements

    def create_images(self) -> str:
        """CREATE of the images' temporary table."""
        columns = ", ".join(f"{identifier(name)} {kind.sqlite}" for name, kind in self.columns.items())
        minor = f", {MINOR} INTEGER" if self.minor else ""
        return f"CREATE TABLE {images_name(self.fullname)} ({columns}, {WEIGHT} INTEGER{minor})"


@dataclass(frozen=True, kw_only=True)
class ModelProgram:
    """One read model: its analysis, the proof of its key, and its statements.

    model: what the table holds; of a feed, the select() of its copies, and `feed` says the rest. newest: of a feed.
    """

    model: ReadModel
    analysis: Analysis
    lookups: tuple[Lookup, ...]
    touch: tuple[TouchStatement, ...]
    recompute: RecomputeStatements
    feed: FeedProgram | None = None
    newest: NewestStatement | None = None

    def create_touched(self) -> str:
        """CREATE of the touched keys' temporary table; its order is the Cassandra table's partition order."""
        columns = ", ".join(f"{identifier(output.name)} {output.type.sqlite}" for output in self.analysis.key)
        key = ", ".join(identifier(name) for name in self.model.key)
        return f"CREATE TABLE {touched_name(self.model.name)} ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID"


@dataclass(frozen=True, kw_only=True)
class Program:
    """tables by the log's name (``schema.table``), models in the order given, groups each after those it leans on."""

    tables: dict[str, ReplicaTable]
    models: tuple[ModelProgram, ...]
    groups: tuple[GroupProgram, ...] = ()

    @property
    def feeds(self) -> tuple[FeedProgram, ...]:
        """Of the models that are feeds."""
        return tuple(model.feed for model in self.models if model.feed is not None)

    def create_feeds(self) -> list[str]:
        """CREATE statements of what feeds keep in the replica, beside the tables."""
        return [CREATE_FLIPS, *CREATE_PARTITIONS, *(statement for feed in self.feeds for statement in feed.create())]

    def feed_state(self) -> list[str]:
        """What `create_feeds` makes, quoted."""
        return [FLIPS, *PARTITIONS, *(feed.counts for feed in self.feeds)]

    @property
    def fingerprint(self) -> str:
        """Changes whenever a replica built for another program would lack a column or an index."""
        shape = [
            [t.name, [(n, k.sqlite, k.kind, k.scale) for n, k in t.columns.items()], t.key, t.indexes]
            for t in self.tables.values()
        ] + [statement for group in self.groups for statement in group.create()]
        shape += [[feed.model, feed.edges, feed.policy.edge_author, *feed.kept()] for feed in self.feeds]
        return hashlib.sha256(json.dumps(shape).encode()).hexdigest()


def compile_models(models: Iterable[ReadModel]) -> Program:
    """Compile read models that share one replica; raises RefusedModelError for the first that can't be maintained."""
    declared = tuple(maintained(model) for model in models)
    minor = _minor(declared)
    programs = tuple(_compile_model(model, minor) for model in declared)
    groups = {group.fullname: group for program in programs for group in program.analysis.groups()}
    try:
        group_states = group_programs(tuple(groups.values()))
    except RefusedError as error:
        raise RefusedModelError(", ".join(program.model.name for program in programs), error) from error
    tables: dict[str, Table] = {}
    used: dict[str, set[str]] = {}
    lookups: dict[str, set[tuple[str, ...]]] = {}
    for program in programs:
        for table in program.analysis.source_tables():
            tables[table.fullname] = table
        for table, column in program.analysis.source_columns():
            used.setdefault(table.fullname, set()).add(column)
        if program.feed is not None:
            edges = program.feed.policy.edges
            tables[edges.fullname] = edges
            used.setdefault(edges.fullname, set()).add(program.feed.policy.edge_author)
            if (active := program.feed.policy.active) is not None:
                tables[active.table.fullname] = active.table
                used.setdefault(active.table.fullname, set()).update((active.reader, active.seen))
                lookups.setdefault(active.table.fullname, set()).update(((active.reader,), (active.seen,)))
        for name, columns in (
            *(found for statement in program.touch for found in statement.looked_up),
            *program.recompute.looked_up,
            *(program.newest.looked_up if program.newest is not None else ()),
            *(found for group in program.analysis.groups() for found in group.looked_up),
        ):
            lookups.setdefault(name, set()).add(columns)
    for group in group_states:
        for statement in group.statements:
            for name, columns in statement.looked_up:
                lookups.setdefault(name, set()).add(columns)
    replica = [
        _replica_table(table, used.get(name, set()), lookups.get(name, set()), minor.get(name, frozenset()))
        for name, table in sorted(tables.items())
    ]
    return Program(
        tables={table.name: table for table in replica},
        models=programs,
        groups=tuple(replace(g, indexes=_indexes(g.key, lookups.get(g.name, set()))) for g in group_states),
    )


def _minor(models: Iterable[ReadModel]) -> dict[str, frozenset[str]]:
    """By a table's full name, the columns that say when a reader was last seen."""
    found: dict[str, frozenset[str]] = {}
    for active in (model.fan_out.active for model in models if model.fan_out is not None):
        if active is not None:
            found[active.table.fullname] = found.get(active.table.fullname, frozenset()) | {active.seen}
    return found


def _compile_model(model: ReadModel, minor: Minor) -> ModelProgram:
    feed = feed_program(model)
    if feed is not None:
        model = pushed(model, feed)
    analysis = analyse(model)
    if feed is not None:
        check_feed(analysis, feed)
    lookups = bind(analysis)
    return ModelProgram(
        model=model,
        analysis=analysis,
        lookups=lookups,
        touch=touch_statements(analysis, feed, minor),
        recompute=recompute_statements(analysis, lookups),
        feed=feed,
        newest=newest_statement(analysis) if feed is not None else None,
    )


def _replica_table(table: Table, used: set[str], lookups: set[tuple[str, ...]], minor: frozenset[str]) -> ReplicaTable:
    key = tuple(str(column.name) for column in table.primary_key.columns)
    names = [*key, *(str(column.name) for column in table.columns if column.name in used and column.name not in key)]
    return ReplicaTable(
        name=f"{table.schema or 'public'}.{table.name}",
        fullname=table.fullname,
        columns={name: value_type(table.c[name].type) for name in names},
        key=key,
        indexes=_indexes(key, lookups),
        minor=minor,
    )


def _indexes(key: tuple[str, ...], lookups: set[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """An index for each look-up that neither the key nor another index serves."""
    indexes: list[tuple[str, ...]] = []
    for columns in sorted(lookups, key=lambda c: (-len(c), c)):
        if not any(set(index[: len(columns)]) == set(columns) for index in (key, *indexes)):
            indexes.append(columns)
    return tuple(indexes)
