"""A build: a worker of its own that fills new generations' tables from the log, beside the steady worker's.

    registered, claimed, tables made ──▶ from the log's beginning (or its newest whole snapshot) ──▶ caught up ──▶ compared
    with the SQL ──▶ verified or failed ──▶ follows the log until it is stopped, so that a switch is one write

Promised: a build that is killed anywhere is resumed by the same command; what it wrote carries log positions like every
write, so what is written again is the same. A generation that differs from its SQL is marked as failed and is never switched to.
A second build of the same generation is refused while the first one says that it lives (its replica's file is locked too);
should two run all the same, because their clocks are apart, that is harmless for the same reason.

A build keeps the replica of *all* read models and, once it is where they are published, writes the others' tables too, as any
second worker does: so the steady worker can go on with the build's replica, and none is rebuilt for a new declaration
(`projector.work`). With `only`, it keeps and writes just what it builds: quicker, and it leaves no replica to go on with.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session

from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from projections.generations import OPEN, Generation, Registered
from projections.read_model import ReadModel
from projector.compile.program import compile_models
from projector.generations.errors import NotReadyError, RegistryError, TakenError
from projector.generations.judge import Judge
from projector.generations.registry import Registry
from projector.generations.tables import of_generation, registry_of, written_by
from projector.metrics import WorkerMetrics
from projector.readiness import Readiness
from projector.work import Work, work

LIVES_S = 15.0
"""Who has said nothing for so long builds no more."""

_TIMEOUT_S = 60.0
_log = get_logger(__name__)


def build_replica(settings: Settings) -> Path:
    """The file of a build's replica, beside the steady worker's."""
    replica = settings.projector.replica
    return replica.with_name(f"{replica.stem}.build{replica.suffix}")


class Build:
    """One run of a build. names: the read models to build. models: all that are declared."""

    def __init__(
        self, settings: Settings, models: Sequence[ReadModel], names: Sequence[str], *, only: bool, then_switch: bool
    ) -> None:
        self._models = tuple(model for model in models if model.name in names) if only else tuple(models)
        self._names = tuple(names)
        self._then_switch = then_switch
        self._only = only
        replica = build_replica(settings)
        if only:
            replica = replica.with_name(f"{replica.stem}.{'.'.join(sorted(names))}{replica.suffix}")
        projector = settings.projector.model_copy(update={"replica": replica})
        kafka = settings.kafka.model_copy(update={"group_id": f"{settings.kafka.group_id}-build"})
        self._settings = settings.model_copy(update={"projector": projector, "kafka": kafka})
        self._builder = f"{socket.gethostname()}:{replica.absolute()}"
        self.metrics, self.readiness = WorkerMetrics(), Readiness()
        self._judge: Judge | None = None

    def run(self, stop: threading.Event, tell: Callable[[str], None]) -> bool:
        """Build, then follow the log until stopped; whether nothing failed. Raises GenerationError, and as `work` does."""
        program = compile_models(self._models)

        def tables(session: Session) -> dict[str, str]:
            building, others = self._begin(session)
            self._judge = Judge(
                self._settings,
                [model for model in self._models if model.name in building],
                building,
                builder=self._builder,
                metrics=self.metrics,
                then_switch=self._then_switch,
                stop=stop,
                tell=tell,
            )
            self._judge.start()
            return {name: generation.table for name, generation in building.items()} | others

        try:
            work(
                Work(
                    settings=self._settings,
                    program=program,
                    models=self._models,
                    metrics=self.metrics,
                    readiness=self.readiness,
                    stop=stop,
                    tables=tables,
                    follows=False,
                    leaves=not self._only,
                    turned=self.readiness.turned,
                )
            )
        finally:
            stop.set()
            if self._judge is not None:
                self._judge.join()
        return self._judge is not None and self._judge.outcome()

    def _begin(self, session: Session) -> tuple[dict[str, Generation], dict[str, str]]:
        """The generations that are built, claimed and with their tables; and the tables of the other read models."""
        registry = registry_of(session, self._settings)
        found = registry.read(model.name for model in self._models)
        others = _others(found, (model for model in self._models if model.name not in self._names))
        building = {}
        for model in self._models:
            if model.name in self._names:
                if model.name not in registry.read():
                    raise NotReadyError(f"read model {model.name} is not registered: run `projector setup`")
                building[model.name] = self._claimed(registry, session, model)
        return building, others

    def _claimed(self, registry: Registry, session: Session, model: ReadModel) -> Generation:
        generation, now = registry.begin(model), time.time_ns() // 1_000
        silent_s = (now - generation.told_at) / 1e6
        if generation.builder not in ("", self._builder) and silent_s < LIVES_S:
            raise TakenError(
                f"generation {generation.number} of {model.name} is being built by {generation.builder}, heard of"
                f" {max(0.0, silent_s):.0f} s ago: leave it to that one, or stop it and repeat this {LIVES_S:.0f} s later"
            )
        if not registry.claim(generation, self._builder, now):
            raise TakenError(
                f"somebody else begins generation {generation.number} of {model.name} just now: leave it to them"
            )
        if generation.state in OPEN:
            _make(session, model, self._settings.cassandra.keyspace, generation.table)
        _log.info(
            "a generation is being built" if generation.state in OPEN else "a generation is followed",
            read_model=model.name,
            generation=generation.number,
            table=generation.table,
            state=str(generation.state),
        )
        return generation


def _others(found: dict[str, Registered], models: Iterable[ReadModel]) -> dict[str, str]:
    """The tables of read models that are not built: those that hold what is declared."""
    tables, lost = {}, []
    for model in models:
        generation = written_by(found[model.name], model)
        if generation is None:
            lost.append(model.name)
        else:
            tables[model.name] = generation.table
    if lost:
        raise NotReadyError(
            f"no generation holds what is declared now of {', '.join(lost)}: build them together with this, or give --only,"
            " which keeps no replica of the others"
        )
    return tables


def _make(session: Session, model: ReadModel, keyspace: str, stored: str) -> None:
    own, *beside = of_generation(model, keyspace, stored)
    for statement in (*own.creation(), *(table.create() for table in beside)):
        try:
            session.execute(statement, timeout=_TIMEOUT_S)
        except (DriverException, NoHostAvailable) as error:
            raise RegistryError(
                f"Cassandra refused: {statement.splitlines()[0]} …: {error}; a build needs a login that may CREATE, as `projector"
                " setup` does"
            ) from error
