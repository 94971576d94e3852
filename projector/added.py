"""A worker's part in columns that its tables got after they were made: to fill them, and to publish when that is done.

A column is *pending* while its own position (`projections.added_columns`) is 0. Then, as soon as the replica has passed
what is published, all keys are put into the replica's queue (`projector.replica.backfill`) and worked off as slices between
other changes, which meanwhile write whole rows with the column. The end of the fill is a position, published together with
the table's from then on. A crash before that repeats some of it, a lost replica all.

A worker of an earlier declaration that runs meanwhile, or after, moves the table's position alone: this one's rows are
written up to the least of them, and while its own fill is under way it leaves nothing to others.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from command_api.process.logging import get_logger
from projections.added_columns import own_positions, position_name
from projections.read_model import ReadModel
from projector.cassandra.progress import Position
from projector.replica.backfill import Backfills, Fill

_log = get_logger(__name__)


class AddedColumns:
    """The added columns of one worker's read models. tables: by read model, its table in Cassandra."""

    def __init__(self, models: Iterable[ReadModel], tables: Mapping[str, str], backfills: Backfills) -> None:
        self._columns = {model.name: tuple(model.columns) for model in models}
        self._tables = tables
        self._backfills = backfills
        self._pending: dict[str, tuple[str, ...]] = {}
        self._filled: dict[str, tuple[str, ...]] = {}
        self._begun: set[str] = set()

    @property
    def fills(self) -> Mapping[str, Fill]:
        """Those under way, by read model."""
        return self._backfills.open

    def written(self, model: str, positions: Mapping[str, Position]) -> int:
        """Up to which LSN all columns of a read model's rows are written, as published; -1 when nobody else's count.

        positions: as published, by name; the table's is among them.
        """
        table = self._tables[model]
        own = own_positions(positions, table, self._columns[model])
        filled = {column: position.lsn for column, position in own.items() if position.lsn}
        if model not in self._begun:
            self._filled[model] = tuple(filled)
            self._pending[model] = tuple(column for column in own if column not in filled)
        if model in self._backfills.open:
            return -1
        return min(positions[table].lsn, *filled.values()) if filled else positions[table].lsn

    def look(self, positions: Mapping[str, Position]) -> None:
        """Learn what is pending of tables that nothing is published of."""
        for model, table in self._tables.items():
            if table not in positions and model not in self._begun:
                self._pending[model] = tuple(own_positions(positions, table, self._columns[model]))

    def begin(self, silent: Container[str]) -> None:
        """Inside a transaction of the replica: begin the fills that are due."""
        for model, columns in self._pending.items():
            if columns and model not in self._begun and model not in silent:
                self._backfills.begin(model, columns)
                self._begun.add(model)
                _log.info(
                    "columns are being filled",
                    read_model=model,
                    columns=columns,
                    rows_left=self.fills[model].total - self.fills[model].done,
                )

    def settle(self) -> None:
        """After a COMMIT: what is filled by now."""
        for model in [name for name in self._begun if name not in self.fills]:
            self._begun.remove(model)
            self._filled[model] = (*self._filled.get(model, ()), *self._pending.pop(model))
            _log.info("columns are filled", read_model=model, columns=self._filled[model])

    def beside(self, model: str) -> tuple[str, ...]:
        """Names under which the position of a read model is published beside its table's."""
        return tuple(position_name(self._tables[model], column) for column in self._filled.get(model, ()))
