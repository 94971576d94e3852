"""Generations as tests see them: the registry as it is, and builds that are begun, awaited and killed."""

from __future__ import annotations

from collections.abc import Mapping

from cassandra.cluster import Session

from command_api.process.settings import Settings
from projections.generations import Registered, State
from projector.cassandra.progress import Position, read_positions
from projector.generations.registry import Registry
from tests.e2e.pipeline import Pipeline, Process, wait_for

_COMMAND_S = 150  # on a machine that is busy


class Registers:
    """The registry of a pipeline's projection."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self._session = session
        self._keyspace, self._projection = settings.cassandra.keyspace, settings.projector.projection

    def of(self, name: str) -> Registered:
        """A read model's generations."""
        return Registry(self._session, keyspace=self._keyspace, projection=self._projection).read()[name]

    def live(self, *names: str) -> list[int]:
        """The numbers of the live generations."""
        return [self.of(name).live for name in names]

    def state(self, name: str, number: int) -> State | None:
        """Of a generation; None for one that is not there."""
        found = self.of(name).generations.get(number)
        return found.state if found is not None else None

    def positions(self) -> Mapping[str, Position]:
        """Those published, by table."""
        return read_positions(self._session, self._keyspace, self._projection, 0)

    def tables(self) -> set[str]:
        """The tables that there are in the keyspace."""
        rows = self._session.execute(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (self._keyspace,)
        )
        return {row.table_name for row in rows}

    def wait(self, name: str, number: int, state: State, build: Process, seconds: float = 90) -> None:
        """Wait until a generation is in a state; fails when its build has ended."""

        def reached() -> bool:
            there = self.state(name, number)
            assert there is state or build.status is None, f"the build ended with {build.status}. {build.tail()}"
            return there is state

        wait_for(f"generation {number} of {name} is {state}", reached, seconds, build.tail)


def building(pipeline: Pipeline, *arguments: str, settings: Settings | None = None, log: str = "build") -> Process:
    """Start `projector generations build`."""
    return pipeline.begin("projector", "generations", "build", *arguments, settings=settings, log=log)


def run(pipeline: Pipeline, *arguments: str, settings: Settings | None = None) -> str:
    """Run a command of `projector generations` to its end; fails unless that is 0."""
    return pipeline.run("projector", "generations", *arguments, settings=settings, seconds=_COMMAND_S)


def refused(pipeline: Pipeline, *arguments: str, settings: Settings | None = None) -> str:
    """Run one that has to end with 1; what it said."""
    log = f"refused-{arguments[0]}"
    process = pipeline.begin("projector", "generations", *arguments, settings=settings, log=log)
    assert process.wait(_COMMAND_S) == 1, process.tail()
    return process.said()
