"""Drivers and trips."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from command_api import replies
from command_api.commands import drivers, trips
from command_api.routes.call import Unversioned, Versioned, done, made

router = APIRouter()


@router.post("/drivers", response_model=replies.Driver, tags=["drivers"], **made(409))
async def register_driver(call: Unversioned, command: drivers.RegisterDriver) -> Response:
    """Register a driver."""
    return await call.run(partial(drivers.register_driver, command=command), command)


@router.put("/drivers/{driver_id}/name", response_model=replies.Driver, tags=["drivers"], **done(412))
async def rename_driver(call: Versioned, driver_id: UUID, command: drivers.RenameDriver) -> Response:
    """Rename a driver."""
    work = partial(drivers.rename_driver, driver_id=driver_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.post("/trips", response_model=replies.Trip, tags=["trips"], **made(409))
async def start_trip(call: Unversioned, command: trips.StartTrip) -> Response:
    """Start a trip."""
    return await call.run(partial(trips.start_trip, command=command), command)


@router.post("/trips/{trip_id}/finish", response_model=replies.Trip, tags=["trips"], **done(409, 412))
async def finish_trip(call: Versioned, trip_id: UUID, command: trips.FinishTrip) -> Response:
    """Finish a trip with its fare."""
    work = partial(trips.finish_trip, trip_id=trip_id, expected=call.expected, command=command)
    return await call.run(work, command)


@router.put("/trips/{trip_id}/fare", response_model=replies.Trip, tags=["trips"], **done(409, 412))
async def correct_fare(call: Versioned, trip_id: UUID, command: trips.CorrectFare) -> Response:
    """Correct a finished trip's fare."""
    work = partial(trips.correct_fare, trip_id=trip_id, expected=call.expected, command=command)
    return await call.run(work, command)
