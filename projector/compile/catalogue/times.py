"""Parts of dates and timestamps, under TimeZone=UTC."""

from __future__ import annotations

from projector.compile.catalogue.entry import Entry
from projector.compile.functions import FIELDS, TIME_FIELDS, TRUNCATIONS

TIMES = (
    Entry(
        name="extract",
        arguments=f"{', '.join(FIELDS)}; from date, timestamp, timestamptz, or time ({', '.join(TIME_FIELDS)})",
        result="integer",
        rule="a timestamptz's UTC face; null for infinity, whose year stops the worker (Postgres answers infinity)",
        examples=tuple(
            f"cast(extract('{field}', c.{column}), Integer)"
            for field in FIELDS
            for column in ("stamp", "tz", "clock" if field in TIME_FIELDS else "day")
        ),
    ),
    Entry(
        name="date_trunc",
        arguments=f"{', '.join(TRUNCATIONS)}; timestamp or timestamptz, 'UTC'",
        result="the same",
        rule="a timestamptz at UTC's hours and days, whatever the server's zone; infinity stays",
        examples=(
            *(f"func.date_trunc('{field}', c.stamp, type_=DateTime())" for field in TRUNCATIONS),
            *(f"func.date_trunc('{field}', c.tz, type_=DateTime(timezone=True))" for field in TRUNCATIONS),
            *(f"func.date_trunc('{field}', c.tz, 'UTC', type_=DateTime(timezone=True))" for field in TRUNCATIONS),
        ),
    ),
)
