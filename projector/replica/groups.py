"""A batch's images become each group's new state, and the groups' own images.

Contract: after `update`, each group's state is that of its rows after the batch, and ``images of`` it name every group
that a state within the batch may have touched, with the weighted rows before and after when another group sums them.
"""

from __future__ import annotations

import sqlite3

from projector.compile.group_program import GroupProgram
from projector.compile.names import delta_name, images_name


class GroupError(RuntimeError):
    """A group's state can't be kept; names the group and the way on."""


class Groups:
    """The groups of a program, over a replica's connection; each comes after those that it leans on."""

    def __init__(self, connection: sqlite3.Connection, programs: tuple[GroupProgram, ...]) -> None:
        self._connection = connection
        self._programs = programs
        self._used = set[str]()

    def clear(self) -> None:
        """Forget the last batch."""
        for program in self._programs:
            if program.name in self._used:
                self._connection.execute(f"DELETE FROM {delta_name(program.name)}")
                self._connection.execute(f"DELETE FROM {images_name(program.name)}")
        self._used.clear()

    def reset(self) -> None:
        """Forget whatever the temporary tables hold, after a rollback."""
        self._used.update(program.name for program in self._programs)
        self.clear()

    def update(self, imaged: frozenset[str]) -> frozenset[str]:
        """Bring every group up to date with a batch's images; the names of those that have images now.

        imaged: full names of the source tables with images. Raises GroupError, sqlite3.OperationalError.
        """
        run = self._connection.execute
        for program in self._programs:
            statements = [statement for statement in program.statements if statement.tables <= imaged]
            if not statements:
                continue
            self._used.add(program.name)
            try:
                touched = sum(run(statement.sql).rowcount for statement in statements)
                if not touched:
                    continue
                if program.weighed:
                    run(program.before)
                run(program.add)
            except (sqlite3.IntegrityError, sqlite3.OperationalError) as error:
                raise self._explained(program, error) from error
            if any(rows for (rows,) in run(program.drop_empty).fetchall()):
                raise _damaged(program)
            if program.weighed:
                run(program.after)
            run(program.between)
            imaged |= {program.name}
        return imaged

    def _explained(self, program: GroupProgram, error: sqlite3.Error) -> Exception:
        what = ", ".join(sorted({o.table.fullname for o in program.group.occurrences}))
        if "integer overflow" in str(error):
            return GroupError(
                f"a sum over {what} leaves the 64 bits that sums are kept in within one batch: correct the rows in Postgres,"
                " or use refresh="
            )
        if not isinstance(error, sqlite3.IntegrityError):
            return error
        found = self._connection.execute(program.overflown).fetchone()
        if found is None:
            return error
        names = {m.name: m.what for m in program.group.measures}
        key = ", ".join(repr(value) for value in found[:-1])
        return GroupError(
            f"{names.get(found[-1], found[-1])} of the group ({key}) over {what} leaves the 64 bits that sums are kept in: correct"
            " the rows in Postgres, or use refresh="
        )


def _damaged(program: GroupProgram) -> GroupError:
    what = ", ".join(sorted({o.table.fullname for o in program.group.occurrences}))
    return GroupError(
        f"a group over {what} would have less than no rows: the replica is damaged; delete it, it is rebuilt from the log"
    )
