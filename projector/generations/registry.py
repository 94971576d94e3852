"""The registry of generations in Cassandra, written by conditional statements alone.

Promised: of two writers that found the same state one wins, and the other is told (`TakenError`); what is read afterwards
is what won. A conditional write whose answer is lost may have happened: whoever repeats a command finds out by reading.
Not promised: that it is quick, four rounds of messages each; nobody waits for it but whoever runs a command.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cassandra import ConsistencyLevel, DriverException, InvalidRequest
from cassandra.cluster import NoHostAvailable, Session
from cassandra.query import BatchStatement, SimpleStatement

from projections.generations import (
    FIRST,
    OPEN,
    READY,
    REGISTRY,
    Generation,
    Registered,
    State,
    registered,
    select_registry,
    table_name,
    unregistered,
)
from projections.read_model import ReadModel
from projections.shape import Shape, shape_of
from projector.generations.errors import NotReadyError, RegistryAwayError, RegistryError, TakenError

_TIMEOUT_S = 20.0
_TRIES = 5


class Registry:
    """The registry of one projection."""

    def __init__(self, session: Session, *, keyspace: str, projection: str) -> None:
        self._session = session
        self._keyspace = keyspace
        self._projection = projection
        self._table = f'"{keyspace}"."{REGISTRY}"'

    def read(self, names: Iterable[str] = (), *, exact: bool = True) -> dict[str, Registered]:
        """All that are registered, and those of `names` that are not as if they had their first generation.

        exact: what a writer that was killed left under way is brought to its end first; without, it is read as anybody reads.
        Raises RegistryError.
        """
        level = ConsistencyLevel.SERIAL if exact else ConsistencyLevel.LOCAL_QUORUM
        statement = SimpleStatement(select_registry(self._keyspace, "%s"), consistency_level=level)
        with self._translated():
            result = self._session.execute(statement, (self._projection,), timeout=_TIMEOUT_S)
            found = registered(tuple(row) for row in result)
        return {**{name: unregistered(name) for name in names}, **found}

    def register(self, model: ReadModel) -> None:
        """Make a read model's declaration its first generation, the live one, unless it has one. Raises RegistryError."""
        shape, now = shape_of(model), _now()
        self._apply(
            (
                "INSERT INTO {table} (projection, read_model, generation, table_name, state, shape, fingerprint, created_at,"
                " changed_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) IF NOT EXISTS",
                (self._projection, model.name, FIRST, table_name(model.name, FIRST), State.FIRST, shape.to_json(),
                 shape.fingerprint, now, now),
            ),
            (
                "INSERT INTO {table} (projection, read_model, generation, live, changed_at) VALUES (%s, %s, 0, %s, %s) IF NOT EXISTS",
                (self._projection, model.name, FIRST, now),
            ),
        )  # fmt: skip

    def reshape(self, generation: Generation, shape: Shape) -> None:
        """Record that a generation's table now holds another declaration's rows. Raises TakenError, RegistryError."""
        done = self._apply(
            (
                "UPDATE {table} SET shape = %s, fingerprint = %s WHERE projection = %s AND read_model = %s AND generation = %s"
                " IF fingerprint = %s",
                (shape.to_json(), shape.fingerprint, *self._key(generation), generation.fingerprint),
            )
        )  # fmt: skip
        if not done:
            raise TakenError(
                f"{generation.table} was given another shape just now: look at `projector generations list`"
            )

    def begin(self, model: ReadModel) -> Generation:
        """The generation to build for a declaration: the newest that is not live, failed or dropped, or else a new one.

        Raises RegistryError.
        """
        shape = shape_of(model)
        for _ in range(_TRIES):
            of_model = self.read((model.name,))[model.name]
            begun = [
                g
                for g in of_model.generations.values()
                if g.fingerprint == shape.fingerprint and g.number != of_model.live
                and g.state in OPEN | READY
            ]  # fmt: skip
            if begun:
                return max(begun, key=lambda g: g.number)
            number, now = max(of_model.generations) + 1, _now()
            self._apply(
                (
                    "INSERT INTO {table} (projection, read_model, generation, table_name, state, shape, fingerprint,"
                    " created_at, changed_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) IF NOT EXISTS",
                    (self._projection, model.name, number, table_name(model.name, number), State.BUILDING,
                     shape.to_json(), shape.fingerprint, now, now),
                )
            )  # fmt: skip
        raise TakenError(f"others register generations of {model.name} all the time: try again")

    def claim(self, generation: Generation, builder: str, now: int) -> bool:
        """Become the builder of a generation; False when somebody else has become it since it was read."""
        return self._apply(
            (
                "UPDATE {table} SET builder = %s, told_at = %s WHERE projection = %s AND read_model = %s AND generation = %s"
                " IF builder = %s AND told_at = %s",
                (builder, now, *self._key(generation), generation.builder or None, generation.told_at or None),
            )
        )

    def told(self, generation: Generation, builder: str, progress: str) -> bool:
        """Record a builder's progress; False when it is its builder no more."""
        return self._apply(
            (
                "UPDATE {table} SET told_at = %s, progress = %s WHERE projection = %s AND read_model = %s AND generation = %s"
                " IF builder = %s",
                (_now(), progress, *self._key(generation), builder),
            )
        )

    def move(self, generation: Generation, to: State, *, of: Iterable[State], reason: str = "") -> bool:
        """Take a generation from one of these states to another; False when it is in none of them."""
        states = tuple(of)
        return self._apply(
            (
                "UPDATE {table} SET state = %s, reason = %s, changed_at = %s"
                " WHERE projection = %s AND read_model = %s AND generation = %s"
                f" IF state IN ({', '.join(['%s'] * len(states))})",
                (to, reason, _now(), *self._key(generation), *states),
            )
        )

    def switch(self, of_model: Registered, to: Generation) -> None:
        """Make a generation the live one, if it is ready still and the pointer where it was. Raises TakenError."""
        done = self._apply(
            (
                "UPDATE {table} SET live = %s, changed_at = %s WHERE projection = %s AND read_model = %s AND generation = 0"
                " IF live = %s",
                (to.number, _now(), self._projection, of_model.read_model, of_model.live),
            ),
            (
                "UPDATE {table} SET reason = '' WHERE projection = %s AND read_model = %s AND generation = %s IF state = %s",
                (*self._key(to), to.state),
            ),
        )
        if not done or to.state not in READY:
            raise TakenError(
                f"{of_model.read_model} was switched, or its generation {to.number} dropped, by somebody else just now: look"
                " at `projector generations list`"
            )

    def drop(self, of_model: Registered, generation: Generation) -> None:
        """Mark a generation as dropped, unless it is live now. Raises NotReadyError, TakenError."""
        if generation.number == of_model.live:
            raise NotReadyError(
                f"generation {generation.number} of {of_model.read_model} is the live one: switch first"
            )
        done = self._apply(
            (
                "UPDATE {table} SET live = %s WHERE projection = %s AND read_model = %s AND generation = 0 IF live = %s",
                (of_model.live, self._projection, of_model.read_model, of_model.live),
            ),
            (
                "UPDATE {table} SET state = %s, changed_at = %s, builder = null, told_at = null"
                " WHERE projection = %s AND read_model = %s AND generation = %s IF state = %s",
                (State.DROPPED, _now(), *self._key(generation), generation.state),
            ),
        )
        if not done:
            raise TakenError(
                f"generation {generation.number} of {of_model.read_model} has changed just now: look at `projector generations list`"
            )

    def _key(self, generation: Generation) -> tuple[Any, ...]:
        return self._projection, generation.read_model, generation.number

    def _apply(self, *statements: tuple[str, tuple[Any, ...]]) -> bool:
        """Run conditional statements of one partition as one; whether they were applied."""
        texts = [
            # The driver quotes a str, and not what is derived from it.
            (cql.format(table=self._table), [str(v) if isinstance(v, State) else v for v in values])
            for cql, values in statements
        ]
        with self._translated():
            if len(texts) == 1:
                result = self._session.execute(SimpleStatement(texts[0][0]), texts[0][1], timeout=_TIMEOUT_S)
            else:
                batch = BatchStatement(consistency_level=ConsistencyLevel.LOCAL_QUORUM)
                for cql, values in texts:
                    batch.add(SimpleStatement(cql), values)
                result = self._session.execute(batch, timeout=_TIMEOUT_S)
            return bool(result.was_applied)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except InvalidRequest as error:
            raise RegistryError(f"{self._table} can't be used ({error}): run `projector setup`") from error
        except (NoHostAvailable, DriverException) as error:
            raise RegistryAwayError(
                f"{self._table} can't be used now ({error}): repeat the command, nothing is half done"
            ) from error


def live(session: Session, *, keyspace: str, projection: str, names: Iterable[str] = ()) -> Mapping[str, Generation]:
    """The live generation of each read model: those that are registered, and of `names` the first of what is not.

    Raises RegistryError.
    """
    found = Registry(session, keyspace=keyspace, projection=projection).read(names)
    return {name: of_model.current for name, of_model in found.items()}


def _now() -> int:
    return time.time_ns() // 1_000
