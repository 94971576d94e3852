"""A table whose values Postgres holds and Cassandra does not always, and two read models of it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, Numeric, Table, Text, Time, select

from projections.read_model import ReadModel

METADATA = MetaData()
notes = Table(
    "notes",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("at", Time),
    Column("amount", Numeric),
    Column("body", Text),
    Column("unread", Text),
    Column("price", Numeric(12, 2)),
)
NOTE_BY_ID = ReadModel(
    name="note_by_id",
    select=select(notes.c.id, notes.c.name, notes.c.at, notes.c.amount, notes.c.body, notes.c.price),
    partition_key=("id",),
)
NOTES_BY_NAME = ReadModel(
    name="notes_by_name",
    select=select(notes.c.name, notes.c.id, notes.c.body),
    partition_key=("name",),
    clustering_key=("id",),
)
MODELS = (NOTE_BY_ID, NOTES_BY_NAME)
