"""A read model's Cassandra table as verification reads it: ranges of tokens, single keys, the covered position.

Everything is read at LOCAL_QUORUM, and after the position that was waited for. Several pages are under way at once;
they come in no order.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cassandra import ConsistencyLevel, DriverException, InvalidRequest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, NoHostAvailable, Session
from cassandra.query import tuple_factory

from command_api.lsn import Lsn
from projections.added_columns import own_positions
from projections.cassandra_table import CassandraTable, cassandra_table
from projections.read_model import ReadModel
from projections.values import Kind
from projector.cassandra.progress import read_positions
from projector.verify.cassandra_values import parameter, reader
from projector.verify.checksum import tokens_of
from projector.verify.errors import NotCoveredError, TableError

_PROFILE = "verify"
_PAGE_ROWS = 2_000
_PAGES_AT_ONCE = 4
_KEYS_AT_ONCE = 64
_TIMEOUT = 60.0
_POLL_FIRST, _POLL_LONGEST = 0.005, 0.5

Row = tuple[Any, ...]


class Table:
    """One read model's table. columns: those that are compared, in the table's order."""

    def __init__(
        self,
        session: Session,
        model: ReadModel,
        *,
        keyspace: str,
        projection: str,
        columns: Sequence[str],
        stored: str = "",
    ) -> None:
        """stored: the name in Cassandra of the generation's table."""
        self._session = session
        self._model = model
        self._table: CassandraTable = cassandra_table(model, keyspace, stored)
        self._keyspace, self._projection = keyspace, projection
        self._width = len(self._table.key)
        names = ", ".join(f'"{name}"' for name in columns)
        times = "".join(f', writetime("{name}")' for name in self._table.columns if name not in self._table.key)
        partition = ", ".join(f'"{name}"' for name in self._table.partition_key)
        within = f"token({partition}) >= ? AND token({partition}) <= ?"
        by_key = " AND ".join(f'"{name}" = ?' for name in self._table.key)
        kinds = [self._table.columns[name] for name in columns]
        self._readers = [(place, convert) for place, kind in enumerate(kinds) if (convert := reader(kind)) is not None]
        self._count = len(columns)
        self._documents = any(kind.kind is Kind.DOCUMENT for kind in kinds)
        base = session.cluster.profile_manager.profiles[EXEC_PROFILE_DEFAULT]
        if _PROFILE not in session.cluster.profile_manager.profiles:
            profile = session.execution_profile_clone_update(
                base,
                row_factory=tuple_factory,
                request_timeout=_TIMEOUT,
                consistency_level=ConsistencyLevel.LOCAL_QUORUM,
            )
            session.cluster.add_execution_profile(_PROFILE, profile)
        with translated(self._table):
            self._scan = session.prepare(
                f"SELECT token({partition}), {names} FROM {self._table.qualified} WHERE {within}"
            )
            self._look = session.prepare(
                f"SELECT token({partition}), {names}{times} FROM {self._table.qualified} WHERE {within}"
            )
            self._one = session.prepare(f"SELECT {names}{times} FROM {self._table.qualified} WHERE {by_key}")
        for statement in (self._scan, self._look):
            statement.fetch_size = _PAGE_ROWS

    def rows(self, parts: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, Row]]]:
        """Token and row of everything in ranges of buckets. Raises TableError."""
        readers = self._readers
        for page in self._pages(self._scan, parts):
            if not readers:
                yield [(row[0], row[1:]) for row in page]
                continue
            yield [(row[0], self._replica_form(row[1:])) for row in page]

    def looks(self, parts: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, Row, int | None]]]:
        """Token, row and newest write timestamp of everything in ranges of buckets. Raises TableError."""
        end = 1 + self._count
        for page in self._pages(self._look, parts):
            yield [(row[0], self._replica_form(row[1:end]), _newest(row[end:])) for row in page]

    def rows_of(self, keys: Sequence[Row]) -> dict[Row, tuple[Row, int | None]]:
        """Row and newest write timestamp by key, for the keys that have a row. Raises TableError."""
        kinds = [self._table.columns[name] for name in self._table.key]
        found: dict[Row, tuple[Row, int | None]] = {}
        waiting: deque[tuple[Row, Any]] = deque()
        with translated(self._table):
            for key in keys:
                values = [parameter(value, kind) for value, kind in zip(key, kinds, strict=True)]
                waiting.append((key, self._session.execute_async(self._one, values, execution_profile=_PROFILE)))
                if len(waiting) >= _KEYS_AT_ONCE:
                    self._take(waiting.popleft(), found)
            while waiting:
                self._take(waiting.popleft(), found)
        return found

    def wait_covered(self, lsn: int, *, seconds: float, waiting: Callable[[int], None] = lambda covered: None) -> int:
        """Wait until the read model covers a position; the epoch that it is written in. Raises NotCoveredError.

        waiting: told what is covered, now and then.
        """
        until, pause = time.monotonic() + seconds, _POLL_FIRST
        while True:
            table = self._table.stored or self._model.name
            positions = read_positions(self._session, self._keyspace, self._projection, 0)
            # Of a column that was added later too, whose position is 0 until all rows have its value.
            own = own_positions(positions, table, self._table.columns).values()
            position = min((positions[table], *own), key=lambda one: one.lsn) if table in positions else None
            if position is not None and position.lsn >= lsn:
                return position.epoch
            waiting(position.lsn if position else 0)
            if time.monotonic() > until:
                where = f"covers {Lsn(position.lsn)}" if position else "covers nothing yet"
                raise NotCoveredError(
                    f"read model {self._model.name} {where}, and did not come to {Lsn(lsn)} within {seconds:g} s: are the relay"
                    " and a worker running (`projector status`)? Give it longer with --wait"
                )
            time.sleep(pause)  # a poll inside the deadline: Cassandra tells nobody of a new position
            pause = min(_POLL_LONGEST, pause * 1.5)

    def _take(self, asked: tuple[Row, Any], found: dict[Row, tuple[Row, int | None]]) -> None:
        key, future = asked
        for row in future.result():
            found[key] = self._replica_form(row[: self._count]), _newest(row[self._count :])

    def _replica_form(self, row: Row) -> Row:
        if not self._readers:
            return row
        values = list(row)
        for place, convert in self._readers:
            if values[place] is not None:
                values[place] = convert(values[place])
        return tuple(values)

    def _pages(self, statement: Any, parts: Iterable[tuple[int, int]]) -> Iterator[list[Row]]:
        answers: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        left = iter(parts)
        under_way = 0

        def begin() -> bool:
            part = next(left, None)
            if part is None:
                return False
            future = self._session.execute_async(statement, tokens_of(*part), execution_profile=_PROFILE)
            # Errors and pages alike arrive on the driver's thread, and are only queued there.
            future.add_callbacks(
                lambda rows, future=future: answers.put((future, rows)),
                lambda error, future=future: answers.put((future, error)),
            )
            return True

        with translated(self._table):
            while under_way < _PAGES_AT_ONCE and begin():
                under_way += 1
            while under_way:
                future, answer = answers.get(timeout=_TIMEOUT * 2)
                if isinstance(answer, BaseException):
                    raise answer
                if future.has_more_pages:
                    future.start_fetching_next_page()
                elif not begin():
                    under_way -= 1
                yield answer or []


def _newest(times: Sequence[int | None]) -> int | None:
    return max((time_ for time_ in times if time_ is not None), default=None)


@contextmanager
def translated(table: CassandraTable) -> Iterator[None]:
    """Errors of a table's reading, by what to do about them."""
    try:
        yield
    except InvalidRequest as error:
        raise TableError(f"{table.qualified} can't be read ({error}): run `projector setup`") from error
    except (NoHostAvailable, DriverException, queue.Empty) as error:
        raise TableError(f"{table.qualified} can't be read: {error or 'no answer'}") from error
