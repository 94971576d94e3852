"""Compiled groups with one of their rules broken; `tests.oracle.mutants` says where each must be noticed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import product
from typing import Any

from projector.compile import delta
from projector.compile.analyse import Analysis
from projector.compile.delta import DeltaStatement, Face
from projector.compile.expression import Expression
from projector.compile.group_program import GroupProgram
from projector.compile.names import WEIGHT, delta_name
from projector.compile.program import Program
from projector.compile.relation import Grouped
from projector.compile.touch import touch_statements

Faces = tuple[Face, ...]
IMAGES = (Face.IMAGES, Face.LOST_IMAGES)
LOST = (Face.LOST, Face.LOST_IMAGES)


class OnlyNet(GroupProgram):
    """Names only the groups whose sums differ after the batch."""

    @property
    def between(self) -> str:
        return f"{super().between} WHERE {' OR '.join(f'{name} <> 0' for name in self.sums)}"


class OnlyThere(GroupProgram):
    """Names only the groups that have rows after the batch."""

    @property
    def between(self) -> str:
        there = " AND ".join(f's."{name}" = {delta_name(self.name)}."{name}"' for name in self.key)
        return f'{super().between} WHERE EXISTS (SELECT 1 FROM main."{self.name}" AS s WHERE {there})'


class Undying(GroupProgram):
    """Keeps the groups without rows."""

    @property
    def drop_empty(self) -> str:
        return "SELECT 0 WHERE FALSE"


class Ratchet(GroupProgram):
    """A maximum that never falls, a minimum that never rises."""

    @property
    def add(self) -> str:
        sql = super().add
        for extreme in self.group.extremes:
            own, best = f'"{extreme.name}"', "max" if extreme.last else "min"
            new = f"excluded.{own}"
            sql = sql.replace(f"{own} = {new}", f"{own} = coalesce({best}({own}, {new}), {own}, {new})")
        return sql


class Trusting(Analysis):
    """Takes what an aggregate is now for what it was at every moment of the batch."""

    def settled(self, expression: Expression) -> bool:
        return True


def as_a(kind: type[GroupProgram]) -> Callable[[Program], Program]:
    """Every group as this kind."""

    def change(program: Program) -> Program:
        return replace(program, groups=tuple(kind(**_values(group)) for group in program.groups))

    return change


def trusting(program: Program) -> Program:
    """Conditions on aggregates restrict what is touched."""
    models = tuple(replace(m, touch=touch_statements(Trusting(**_values(m.analysis)))) for m in program.models)
    return replace(program, models=models)


def only(keep: Callable[[Faces], bool]) -> Callable[[Program], Program]:
    """Every group without the statements of some faces."""
    return _restated(lambda group, faces: delta._statement(group, faces, group.partners) if keep(faces) else None)


def first_order(faces: Faces) -> bool:
    """One side changes at a time."""
    return sum(face in IMAGES for face in faces) == 1


def never_lost(faces: Faces) -> bool:
    """The null-extended row stays when a partner comes."""
    return not any(face in LOST for face in faces)


def never_absent(faces: Faces) -> bool:
    """There is no null-extended row."""
    return Face.ABSENT not in faces and never_lost(faces)


def each_partner(program: Program) -> Program:
    """The null-extended row goes once for every partner instead of once for all."""
    return _restated(lambda group, faces: delta._statement(group, faces, {}))(program)


def counting_between(program: Program) -> Program:
    """A row's states within the batch count as if each stayed."""
    weight = re.compile(rf"(o\d+\.{re.escape(WEIGHT)})")
    return _rewritten(program, lambda sql: weight.sub(r"(\1 + (\1 = 0))", sql))


def counting_repeats(program: Program) -> Program:
    """count(DISTINCT …) counts every row of a value that comes or goes."""
    return _rewritten(program, lambda sql: sql.replace(f"SUM(v.{WEIGHT})", f"SUM(v.{WEIGHT} * v.n)"))


def _restated(statement: Callable[[Grouped, Faces], DeltaStatement | None]) -> Callable[[Program], Program]:
    def change(program: Program) -> Program:
        return replace(program, groups=tuple(replace(g, statements=statements(g.group)) for g in program.groups))

    def statements(group: Grouped) -> tuple[DeltaStatement, ...]:
        choices = product(*(tuple(Face) if o.optional else (Face.CURRENT, Face.IMAGES) for o in group.occurrences))
        made = [statement(group, faces) for faces in choices if any(face in IMAGES for face in faces)]
        return (*(s for s in made if s is not None), *delta._counts(group))

    return change


def _rewritten(program: Program, rewrite: Callable[[str], str]) -> Program:
    return replace(
        program,
        groups=tuple(
            replace(group, statements=tuple(replace(s, sql=rewrite(s.sql)) for s in group.statements))
            for group in program.groups
        ),
    )


def _values(made: Any) -> dict[str, Any]:
    return {field.name: getattr(made, field.name) for field in fields(made)}
