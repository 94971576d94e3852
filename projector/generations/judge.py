"""Beside a build's worker: tells how far it is, and when it has caught up compares what it built with the SQL.

A thread with a connection of its own. It writes the registry and nothing else, so whenever it is killed the next one goes
on from the state that it finds there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from cassandra.cluster import Session

from command_api.process.logging import get_logger
from command_api.process.settings import Settings
from projections.generations import OPEN, READY, Generation, State
from projections.read_model import ReadModel
from projector.apply.log import LogUnavailableError
from projector.cassandra.errors import CassandraError
from projector.cassandra.progress import Position, read_positions
from projector.cassandra.session import close, connect
from projector.generations.errors import NotReadyError, RegistryError, TakenError
from projector.generations.pace import Pace
from projector.generations.registry import Registry
from projector.generations.switch import covers, switch
from projector.generations.tables import registry_of
from projector.metrics import WorkerMetrics
from projector.verify.errors import VerifyError
from projector.verify.report import Report
from projector.verify.run import Options, verify

_LOOK_S = 0.25
_TELL_S = 3.0
_SWITCH_S = 5.0
_AGAIN_S = 5.0  # after a comparison that could not be made
_CONNECT_S = 30.0
_SHOWN = 3
_log = get_logger(__name__)


class _EndedError(Exception):
    """The build ends; so does what is in hand."""


class Judge(threading.Thread):
    """Judges the generations of one build, by read model. tell: told a line for whoever watches, now and then."""

    def __init__(
        self,
        settings: Settings,
        models: Sequence[ReadModel],
        building: Mapping[str, Generation],
        *,
        builder: str,
        metrics: WorkerMetrics,
        then_switch: bool,
        stop: threading.Event,
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(name="generations", daemon=True)
        self._settings = settings
        self._models = {model.name: model for model in models}
        self._states = {name: generation.state for name, generation in building.items()}
        self._building = dict(building)
        self._builder = builder
        self._metrics = metrics
        self._then_switch = then_switch
        self._ending = stop
        self._tell = tell
        self._pace = Pace()
        self._told_at = 0.0
        self._again_at = 0.0
        self._error: BaseException | None = None

    def outcome(self) -> bool:
        """Whether nothing failed, once the thread has ended. Raises what ended it."""
        if self._error is not None:
            raise self._error
        return State.FAILED not in self._states.values()

    def run(self) -> None:
        """Until the build ends, or cannot go on."""
        try:
            session = connect(self._settings.cassandra, deadline_s=_CONNECT_S, stop=self._ending)
            try:
                self._follow(session, registry_of(session, self._settings))
            finally:
                close(session)
        except _EndedError:
            pass
        except BaseException as error:  # ends the build; `outcome` has it for whoever asked
            self._error = error
        finally:
            self._ending.set()

    def _follow(self, session: Session, registry: Registry) -> None:
        while not self._ending.wait(_LOOK_S):
            try:
                self._look(session, registry)
            except (CassandraError, RegistryError) as error:  # of the moment: the worker waits for Cassandra too
                _log.warning("the registry or the positions can't be read or written now", cause=str(error))
            if all(state is State.FAILED for state in self._states.values()):
                return

    def _look(self, session: Session, registry: Registry) -> None:
        positions = self._positions(session)
        self._report(registry)
        undecided = [name for name, state in self._states.items() if state in OPEN]
        if undecided and time.monotonic() >= self._again_at and self._caught_up(registry, positions, undecided):
            for name in undecided:
                self._decide(session, registry, name)
        if self._then_switch and all(state in READY for state in self._states.values()):
            self._switch(session, registry)

    def _switch(self, session: Session, registry: Registry) -> None:
        for name, generation in self._building.items():
            try:
                done = switch(registry, lambda: self._positions(session), name, generation.number, wait_s=_SWITCH_S)
            except NotReadyError as error:
                _log.warning("not switched yet", reason=str(error))
                return
            self._say(f"{name}: generation {done.number} is live, its table is {done.table}")
        self._then_switch = False

    def _positions(self, session: Session) -> Mapping[str, Position]:
        return read_positions(session, self._settings.cassandra.keyspace, self._settings.projector.projection, 0)

    def _caught_up(self, registry: Registry, positions: Mapping[str, Position], names: Sequence[str]) -> bool:
        """Whether each new generation covers what the live one has published, and there is little left to read."""
        found = registry.read(names)
        for name in names:
            new, old = positions.get(self._building[name].table), positions.get(found[name].current.table)
            if new is None or not covers(new, old):
                return False
        return self._pace.left <= 1_000

    def _decide(self, session: Session, registry: Registry, name: str) -> None:
        generation = self._building[name]
        registry.move(generation, State.BUILT, of=(State.BUILDING,))
        self._states[name] = State.BUILT
        self._say(f"{name}: generation {generation.number} has caught up and is compared with its SQL")
        try:
            report = verify(
                self._models[name], self._settings, session, Options(), self._progress, stored=generation.table
            )
        except (VerifyError, CassandraError, LogUnavailableError) as error:
            _log.warning("a generation can't be compared now", read_model=name, reason=str(error))
            self._again_at = time.monotonic() + _AGAIN_S
            return
        to, reason = (State.FAILED, _why(report)) if report.differing else (State.VERIFIED, "")
        registry.move(generation, to, of=(State.BUILT,), reason=reason)
        self._states[name] = to
        if report.differing:
            _log.error("a generation differs from its SQL and will never be live", read_model=name, reason=reason)
            self._say(f"{name}: generation {generation.number} failed: {reason}")
        else:
            self._say(
                f"{name}: generation {generation.number} is verified, {report.rows:,} rows equal: `projector generations switch"
                f" {name}` makes it live"
            )

    def _progress(self, phase: str, done: int, total: int | None = None) -> None:
        if self._ending.is_set():
            raise _EndedError

    def _report(self, registry: Registry) -> None:
        value = self._metrics.registry.get_sample_value
        written = {name: value("projection_rows_written_total", {"read_model": name}) or 0.0 for name in self._building}
        self._pace.saw(
            time.monotonic(),
            changes=value("projection_source_changes_total") or 0.0,
            left=value("projection_lag_records") or 0.0,
        )
        if time.monotonic() - self._told_at < _TELL_S:
            return
        self._told_at = time.monotonic()
        for name, generation in self._building.items():
            if not registry.told(generation, self._builder, self._pace.as_json(written[name])):
                raise TakenError(
                    f"another build has taken over generation {generation.number} of {name}, or it was dropped: this one ends"
                )
        if any(state in OPEN for state in self._states.values()):
            self._tell(", ".join(self._building) + ": " + self._pace.line(sum(written.values())))

    def _say(self, text: str) -> None:
        _log.info(text)
        self._tell(text)


def _why(report: Report) -> str:
    shown = "; ".join(str(each) for each in report.differences[:_SHOWN])
    return f"{report.differing} of {report.rows} rows differ from the SQL: {shown}"
