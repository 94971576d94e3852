"""Trips twice, as two queries read them: a driver's, and a city's of one day; a corrected fare reaches both."""

from datetime import timedelta

from sqlalchemy import Date, cast, select

from command_api.tables import drivers, trips
from projections.read_model import ReadModel, descending

TRIPS_BY_DRIVER = ReadModel(
    name="trips_by_driver",
    select=select(
        trips.c.driver_id,
        trips.c.started_at,
        trips.c.trip_id,
        drivers.c.name.label("driver_name"),
        trips.c.rider_id,
        trips.c.city,
        trips.c.finished_at,
        trips.c.fare,
    ).join(drivers, drivers.c.driver_id == trips.c.driver_id),
    partition_key=("driver_id",),
    clustering_key=(descending("started_at"), "trip_id"),
    staleness=timedelta(seconds=5),
)

TRIPS_BY_CITY_DATE = ReadModel(
    name="trips_by_city_date",
    select=select(
        trips.c.city,
        cast(trips.c.started_at, Date).label("date"),
        trips.c.started_at,
        trips.c.trip_id,
        trips.c.driver_id,
        drivers.c.name.label("driver_name"),
        trips.c.rider_id,
        trips.c.finished_at,
        trips.c.fare,
    ).join(drivers, drivers.c.driver_id == trips.c.driver_id),
    partition_key=("city", "date"),
    clustering_key=(descending("started_at"), "trip_id"),
    staleness=timedelta(seconds=5),
)
