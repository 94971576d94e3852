"""Trips: started, finished once with a fare, the fare corrected as often as need be.

started ──▶ finished ─┐
               ▲──────┘ fare
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from command_api.commands.drivers import require_driver
from command_api.commands.fields import Command, Id, Label, Money, new_id
from command_api.commands.outcome import Outcome
from command_api.commands.people import require_user
from command_api.database import Connection
from command_api.errors import ConflictError, NotFoundError
from command_api.preconditions import IfMatch, check

_COLUMNS = "trip_id, driver_id, rider_id, city, started_at, finished_at, fare, version"


class StartTrip(Command):
    """A driver takes a rider; the id is made here unless given."""

    trip_id: Id | None = None
    driver_id: Id
    rider_id: Id
    city: Label


class FinishTrip(Command):
    """The end of a trip, with its fare."""

    fare: Money


class CorrectFare(Command):
    """Another fare for a finished trip."""

    fare: Money


def _trip(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_COLUMNS.split(", "), row, strict=True))


async def start_trip(connection: Connection, command: StartTrip) -> Outcome:
    """Raises UnknownReferenceError for the driver or the rider, ConflictError when the given id is taken."""
    await require_driver(connection, command.driver_id)
    await require_user(connection, command.rider_id)
    trip_id = command.trip_id or new_id()
    cursor = await connection.execute(
        f"""
        insert into trips (trip_id, driver_id, rider_id, city) values (%s, %s, %s, %s)
        on conflict do nothing returning {_COLUMNS}
        """,
        (trip_id, command.driver_id, command.rider_id, command.city),
    )
    row = await cursor.fetchone()
    if row is None:
        raise ConflictError(f"there is a trip {trip_id} already", hint="leave trip_id out or send another")
    return Outcome(body=_trip(row), version=1, created=f"/trips/{trip_id}")


async def _lock(connection: Connection, trip_id: UUID, expected: IfMatch) -> bool:
    """Whether it is finished."""
    cursor = await connection.execute(
        "select version, finished_at is not null from trips where trip_id = %s for no key update", (trip_id,)
    )
    row = cast("tuple[int, bool] | None", await cursor.fetchone())
    if row is None:
        raise NotFoundError("trip", trip_id)
    check(expected, row[0], "trip")
    return row[1]


async def finish_trip(connection: Connection, trip_id: UUID, expected: IfMatch, command: FinishTrip) -> Outcome:
    """Raises NotFoundError, VersionMismatchError, ConflictError when it is finished already."""
    if await _lock(connection, trip_id, expected):
        raise ConflictError(f"the trip {trip_id} is finished already", hint="correct its fare if that is wrong")
    # The clock, not the transaction's start: that may lie before a start that it has waited for.
    return await _changed(connection, "finished_at = clock_timestamp(), fare = %s", command.fare, trip_id)


async def correct_fare(connection: Connection, trip_id: UUID, expected: IfMatch, command: CorrectFare) -> Outcome:
    """Raises NotFoundError, VersionMismatchError, ConflictError while it is not finished."""
    if not await _lock(connection, trip_id, expected):
        raise ConflictError(f"the trip {trip_id} is not finished yet", hint="finish it with its fare first")
    return await _changed(connection, "fare = %s", command.fare, trip_id)


async def _changed(connection: Connection, sets: str, fare: object, trip_id: UUID) -> Outcome:
    cursor = await connection.execute(
        f"update trips set {sets}, version = version + 1 where trip_id = %s returning {_COLUMNS}", (fare, trip_id)
    )
    row = await cursor.fetchone()
    assert row is not None, "the row is locked"
    trip = _trip(row)
    return Outcome(body=trip, version=trip["version"])
