"""``relay setup``: publication, topic, slot and initial snapshot. Every step may be repeated; a finished one is kept.

An interrupted run leaves a slot but no whole snapshot in the log: the next run drops that slot and takes a new one with
a new snapshot. A log that already holds a position is never started over here: what to do then is in the error.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported without saying so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from psycopg import sql
from sqlalchemy import MetaData

from command_api.lsn import Lsn
from command_api.process.kafka_admin import settled
from command_api.process.kafka_login import KafkaRefusedError, Refusals, opened, reached
from command_api.process.logging import get_logger
from command_api.process.settings import Kafka, Settings
from command_api.relay import continuity
from command_api.relay.catalog import Catalog, PublishedTable
from command_api.relay.errors import LogUnavailableError, SetupError, SourceUnavailableError
from command_api.relay.publish import QUIET, Publisher, kafka_error
from command_api.relay.replication import ReplicationConnection
from command_api.relay.rows import Origin
from command_api.relay.snapshot import write_snapshot
from command_api.relay.tail import check_topic, read_tail

_log = get_logger(__name__)
_TIMEOUT_S: Final = 30.0
REFRESHED: Final = "lockstep_refresh"  # the schema of scheduled read models, whose set-up publishes its tables itself


@dataclass(frozen=True, kw_only=True)
class SetupReport:
    """What set-up found or made. snapshot_rows: None when the log had its snapshot already."""

    tables: tuple[str, ...]
    position: Lsn
    snapshot_rows: int | None


def setup(settings: Settings) -> SetupReport:
    """Make the relay ready to run; raises RelayError with the way out."""
    with Catalog(settings.postgres.admin.get_secret_value()) as catalog:
        ((wal_level,),) = catalog.rows("show wal_level")
        if wal_level != "logical":
            raise SetupError(
                f"Postgres's wal_level is {wal_level}", hint="Set wal_level = logical and restart Postgres"
            )
        publish_tables(catalog, settings.relay.publication, wanted_tables(settings))
        tables = catalog.published_tables(settings.relay.publication)
        names = tuple(f"{table.schema}.{table.name}" for table in tables)
        make_topic(settings.kafka)
        slot = catalog.slot(settings.relay.slot)
        tail = read_tail(settings.kafka, at_least=slot.confirmed if slot is not None else 0)
        with ReplicationConnection(settings.postgres.admin.get_secret_value()) as connection:
            if not continuity.snapshot_needed(tail):
                flushed, _ = catalog.flushed()
                position = continuity.check(
                    slot_name=settings.relay.slot, slot=slot, tail=tail, identity=connection.identify(), flushed=flushed
                )
                _log.info("relay is set up already", position=str(position), tables=len(tables))
                return SetupReport(tables=names, position=position, snapshot_rows=None)
            if slot is not None:
                _log.warning("an interrupted set-up left a slot: starting over", slot=slot.name)
                drop_slot(catalog, slot.name)
            rows, position = initial_snapshot(settings, catalog, connection, tables)
            return SetupReport(tables=names, position=position, snapshot_rows=rows)


def initial_snapshot(
    settings: Settings, catalog: Catalog, connection: ReplicationConnection, tables: tuple[PublishedTable, ...]
) -> tuple[int, Lsn]:
    """Make the slot and write the snapshot; returns rows and position."""
    identity = connection.identify()
    _log.info("making the slot; this waits for the transactions that are running now", slot=settings.relay.slot)
    exported = connection.create_slot(settings.relay.slot)
    publisher = Publisher(settings.kafka, confirmed=0, give_up_s=_TIMEOUT_S)
    try:
        rows = write_snapshot(
            catalog=catalog,
            exported=exported,
            tables=tables,
            origin=Origin(name=settings.relay.database_name, database=identity.database),
            history=identity.text,
            emit=publisher.publish,
            on_table=lambda table, count: _log.info("snapshot", table=table, rows=count),
        )
        publisher.mark(exported.consistent_point)
        if not publisher.flush(_TIMEOUT_S):
            raise LogUnavailableError(
                f"Kafka has not acknowledged the snapshot within {_TIMEOUT_S:.0f} s", hint="Run `relay setup` again"
            )
    finally:
        publisher.close()
    return rows, exported.consistent_point


def wanted_tables(settings: Settings) -> tuple[tuple[str, str], ...]:
    """(schema, table) of what is to be published; raises SetupError when the settings name nothing."""
    if settings.relay.tables:
        pairs = [name.rpartition(".") for name in settings.relay.tables]
        return tuple((schema or "public", table) for schema, _, table in pairs)
    module, _, attribute = settings.relay.metadata.partition(":")
    try:
        metadata = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SetupError(
            f"relay.metadata {settings.relay.metadata!r} can't be imported: {error}", hint="Expected package:ATTRIBUTE"
        ) from error
    if not isinstance(metadata, MetaData) or not metadata.tables:
        raise SetupError(
            f"relay.metadata {settings.relay.metadata!r} holds no tables", hint="Name a SQLAlchemy MetaData"
        )
    return tuple((table.schema or "public", table.name) for table in metadata.sorted_tables)


def publish_tables(catalog: Catalog, publication: str, wanted: tuple[tuple[str, str], ...]) -> None:
    """Make the publication hold the wanted tables; raises SetupError for a table that can't be captured exactly."""
    for schema, name in wanted:
        table = PublishedTable(schema=schema, name=name, columns=(), row_filter=None)
        catalog.key(catalog.relation(_all_columns(catalog, table)))
    identifiers = sql.SQL(", ").join(sql.SQL("TABLE {}").format(sql.Identifier(*pair)) for pair in wanted)
    name_ = sql.Identifier(publication)
    if not catalog.has_publication(publication):
        _execute(
            catalog,
            sql.SQL("CREATE PUBLICATION {} FOR {} WITH (publish_via_partition_root = true)").format(name_, identifiers),
        )
        _log.info("publication made", publication=publication, tables=len(wanted))
        return
    if not catalog.publishes_roots(publication):
        # Or each month would be a table of its own in the log, and the next one unknown to every reader.
        _execute(catalog, sql.SQL("ALTER PUBLICATION {} SET (publish_via_partition_root = true)").format(name_))
        _log.info("partitions are published as their partitioned table from now on", publication=publication)
    published = {(table.schema, table.name) for table in catalog.published_tables(publication)}
    missing = [pair for pair in wanted if pair not in published]
    if missing:
        added = sql.SQL(", ").join(sql.SQL("TABLE {}").format(sql.Identifier(*pair)) for pair in missing)
        _execute(catalog, sql.SQL("ALTER PUBLICATION {} ADD {}").format(name_, added))
        _log.info(
            "tables added to the publication",
            publication=publication,
            tables=[".".join(pair) for pair in missing],
            hint="rows that they hold already reach the log with `relay snapshot`",
        )
    for pair in sorted(published - set(wanted)):
        if pair[0] == REFRESHED:
            continue
        _log.warning("the publication holds a table that is not asked for; it stays", table=".".join(pair))


def _all_columns(catalog: Catalog, table: PublishedTable) -> PublishedTable:
    found = catalog.rows(
        "select a.attname::text from pg_attribute a join pg_class c on c.oid = a.attrelid"
        " join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and c.relname = %s and a.attnum > 0"
        " and not a.attisdropped",
        table.schema,
        table.name,
    )
    if not found:
        raise SetupError(f"the table {table.schema}.{table.name} is missing", hint="Run the migrations first")
    return PublishedTable(schema=table.schema, name=table.name, columns=tuple(n for (n,) in found), row_filter=None)


def _execute(catalog: Catalog, statement: sql.Composed) -> None:
    catalog.connection.execute(statement)


def drop_slot(catalog: Catalog, name: str) -> None:
    """Drop a slot; waits a little for a process that has just died. Raises SourceUnavailableError if it is in use."""
    deadline = time.monotonic() + 5
    while (slot := catalog.slot(name)) is not None:
        if slot.active_pid is None:
            catalog.rows("select pg_drop_replication_slot(%s)", name)
        elif time.monotonic() > deadline:
            raise SourceUnavailableError(
                f"the slot {name!r} is in use by process {slot.active_pid} of Postgres", hint="Stop the relay that runs"
            )
        else:
            time.sleep(0.05)  # the deadline is above; Postgres tells nobody that a slot is free


def _made(admin: AdminClient, topic: NewTopic) -> bool:
    """Make a topic; False when another set-up did meanwhile, or a broker that was asked had not heard of it yet."""
    try:
        settled(admin.create_topics([topic], operation_timeout=_TIMEOUT_S).values(), _TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
        return False
    _log.info("topic made", topic=topic.topic)
    return True


def make_topic(kafka: Kafka) -> None:
    """Make the log's topic, or bring its retention and record size to the settings."""
    refusals = Refusals()
    wanted = {
        "cleanup.policy": "delete",
        "retention.ms": str(kafka.retention_ms),
        "retention.bytes": "-1",
        "max.message.bytes": str(kafka.max_message_bytes),
    }
    try:
        admin = opened(AdminClient, kafka.client_properties() | QUIET | {"error_cb": refusals})
        if kafka.topic not in reached(admin, refusals, _TIMEOUT_S).topics:
            made = _made(admin, NewTopic(kafka.topic, 1, kafka.replication_factor, config=wanted))
            _wait_for(lambda: kafka.topic in admin.list_topics(timeout=_TIMEOUT_S).topics)
            if made:
                return
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in wanted.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, kafka.topic, incremental_configs=entries)
        settled(admin.incremental_alter_configs([resource]).values(), _TIMEOUT_S)
        refusals = Refusals()
        group = {"group.id": f"{kafka.group_id}-setup", "error_cb": refusals}
        consumer = opened(Consumer, kafka.client_properties() | QUIET | group)
        try:
            check_topic(consumer, kafka.topic, refusals)
        finally:
            consumer.close()
    except KafkaRefusedError as error:
        raise SetupError(str(error)) from error
    except KafkaException as error:
        raise kafka_error(error.args[0], f"the topic {kafka.topic!r} can't be made") from error
    except TimeoutError as error:
        raise LogUnavailableError(
            f"Kafka did not answer within {_TIMEOUT_S:g} s whether the topic {kafka.topic!r} is made",
            hint="Run `relay setup` again",
        ) from error


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise LogUnavailableError("the new topic does not appear", hint="Run `relay setup` again")
        time.sleep(0.05)  # the deadline is above; a broker's metadata is only there to be asked for
