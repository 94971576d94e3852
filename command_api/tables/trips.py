"""Drivers and their trips; a trip has its end and its fare together, or neither yet."""

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, Integer, Numeric, Table, Text, Uuid, func

from command_api.tables.metadata import METADATA

drivers = Table(
    "drivers",
    METADATA,
    Column("driver_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

trips = Table(
    "trips",
    METADATA,
    Column("trip_id", Uuid, primary_key=True),
    Column("driver_id", Uuid, ForeignKey("drivers.driver_id"), nullable=False, index=True),
    Column("rider_id", Uuid, ForeignKey("users.user_id"), nullable=False, index=True),
    Column("city", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("finished_at", DateTime(timezone=True)),
    Column("fare", Numeric(12, 2), CheckConstraint("fare >= 0", name="fare_not_negative")),
    Column("version", Integer, nullable=False, server_default="1"),
    CheckConstraint("(finished_at is null) = (fare is null)", name="finished_with_a_fare"),
)
