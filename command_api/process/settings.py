"""Settings of every process: environment variables ``LOCKSTEP_…`` over the file named by ``LOCKSTEP_FILE`` over defaults.

Nested fields join with two underscores (``LOCKSTEP_KAFKA__BOOTSTRAP_SERVERS``); the file is TOML with one table a
section. Passwords are `SecretStr`: they print as asterisks. Raises pydantic's ValidationError naming the field.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

Port = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    """A section refuses names that it does not know."""

    # An error must not repeat its input: a misspelt password's name leaves the password where nothing masks it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Postgres(Section):
    """One database, and a conninfo for each least-privilege role; libpq's own TLS settings go into the conninfo.

    admin: owns the schema; used by migrations and set-ups only.
    verifier: may select from the source tables and make a replication slot, as `relay` may, which it is when not given.
    """

    admin: SecretStr = SecretStr("host=127.0.0.1 port=5432 dbname=app user=postgres")
    command_api: SecretStr = SecretStr("host=127.0.0.1 port=5432 dbname=app user=lockstep_command_api")
    relay: SecretStr = SecretStr("host=127.0.0.1 port=5432 dbname=app user=lockstep_relay")
    reader: SecretStr = SecretStr("host=127.0.0.1 port=5432 dbname=app user=lockstep_reader")
    verifier: SecretStr | None = None
    refresher: SecretStr = SecretStr("host=127.0.0.1 port=5432 dbname=app user=lockstep_refresher")


class Kafka(Section):
    """The log: one topic of one partition.

    announcements_topic: where workers tell readers which partitions they have written; None is ``<topic>.written``.
    dead_letters_topic: where workers put the rows that Cassandra refuses; None is ``<topic>.dead-letters``.
    client: librdkafka properties for every client (security.protocol, sasl.*, ssl.*).
    retention_ms: -1 keeps the log for ever.
    silence_ms: a client that has heard nothing for so long of what is due is given up for another one. Below the time that a
        broker may stand still, records may be written by both: readers pass over what comes twice.
    """

    bootstrap_servers: str = "127.0.0.1:9092"
    topic: str = "lockstep.app"
    group_id: str = "lockstep-projector"
    replication_factor: Annotated[int, Field(ge=1)] = 1
    retention_ms: Annotated[int, Field(ge=-1)] = -1
    max_message_bytes: Annotated[int, Field(ge=1_000_000)] = 64 << 20
    silence_ms: Annotated[int, Field(ge=100)] = 90_000
    announcements_topic: str | None = None
    dead_letters_topic: str | None = None
    client: dict[str, SecretStr] = {}

    @property
    def announcements(self) -> str:
        """The name of the topic of announcements."""
        return self.announcements_topic or f"{self.topic}.written"

    @property
    def dead_letters(self) -> str:
        """The name of the topic of dead letters."""
        return self.dead_letters_topic or f"{self.topic}.dead-letters"

    def client_properties(self) -> dict[str, Any]:
        """What every librdkafka client starts from, secrets in clear: never log it."""
        return {
            "bootstrap.servers": self.bootstrap_servers,
            **{name: value.get_secret_value() for name, value in self.client.items()},
        }


class Cassandra(Section):
    """The cluster that holds the read models.

    replication: the keyspace's replication map, used only when the keyspace is made.
    ca_file, certificate_file, key_file: TLS is on when ca_file is given.
    check_hostname: whether a node's certificate must name the address that it is reached by.
    """

    contact_points: tuple[str, ...] = ("127.0.0.1",)
    port: Port = 9042
    local_datacenter: str = "datacenter1"
    keyspace: str = "lockstep"
    replication: dict[str, str] = {"class": "SimpleStrategy", "replication_factor": "1"}
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    check_hostname: bool = True


class Login(Section):
    """A role; without a password it is not made here."""

    username: str
    password: SecretStr | None = None


class CassandraRoles(Section):
    """The least-privilege roles that `projector roles` makes, as a superuser: of set-ups, of workers, of the read API."""

    setup: Login = Login(username="lockstep_setup")
    projector: Login = Login(username="lockstep_projector")
    reader: Login = Login(username="lockstep_reader")


class CommandApi(Section):
    """The write side's HTTP server.

    timeout_ms: bounds each wait for a connection, a lock or a statement; a command as a whole takes twice that at most.
    idempotency_hours: how long an Idempotency-Key is remembered.
    read_api: URL of a read API, asked whether a write is covered when a caller prefers to wait for that; None never waits.
    covered_wait_ms: the longest such wait.
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    pool_size: Annotated[int, Field(ge=1)] = 10
    timeout_ms: Annotated[int, Field(ge=100)] = 5_000
    max_body_bytes: Annotated[int, Field(ge=1_024)] = 1 << 18
    idempotency_hours: Annotated[int, Field(ge=1)] = 24
    read_api: str | None = None
    covered_wait_ms: Annotated[int, Field(ge=1, le=60_000)] = 10_000


class Relay(Section):
    """Capture: one process per database.

    database_name: `source.name` in records, Debezium's topic.prefix.
    tables: what the publication holds, ``schema.table``; empty means every table of `metadata`.
    metadata: the SQLAlchemy metadata of the source tables, ``package:ATTRIBUTE``.
    silence_ms: a stream whose server gives no sign for so long after it was asked for one is opened anew. Not below Postgres's
    wal_sender_timeout: at half of that it gives one whatever else it does.
    """

    slot: str = "lockstep"
    publication: str = "lockstep"
    database_name: str = "app"
    tables: tuple[str, ...] = ()
    metadata: str = "command_api.tables:METADATA"
    heartbeat_ms: Annotated[int, Field(ge=1)] = 20
    silence_ms: Annotated[int, Field(ge=100)] = 60_000
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9101


class Projector(Section):
    """A worker.

    projection: names the worker's positions in Cassandra; one per log and set of read models.
    epoch: of the source history; a new history (restored database) takes the next number.
    put_aside_above: keys that one batch's changes of parents may touch at once; what finds more is worked off in slices.
    slice_keys, slice_share: keys of a slice; the share of the worker's time for slices while other changes wait.
    most_dead_letters: rows that Cassandra refuses are parked; with more than so many the worker stops.
    max_batch_changes: of a batch when the worker is behind; more cost less CPU a row, take more memory and are shown later.
    verify_every_s: a worker compares a sample of each read model with its SQL this often; 0 is never.
    verify_sample: percentage of the partitions in such a sample.
    """

    projection: str = "lockstep"
    read_models: str = "projections:READ_MODELS"
    metadata: str = "command_api.tables:METADATA"
    replica: Path = Path(".local/replica.sqlite")
    epoch: Annotated[int, Field(ge=1, le=2047)] = 1
    put_aside_above: Annotated[int, Field(ge=0)] = 20_000
    slice_keys: Annotated[int, Field(ge=1)] = 500
    slice_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    most_dead_letters: Annotated[int, Field(ge=0)] = 1_000
    verify_every_s: Annotated[float, Field(ge=0)] = 0.0
    verify_sample: Annotated[float, Field(gt=0, le=100)] = 1.0
    max_batch_changes: Annotated[int, Field(ge=1)] = 10_000
    rows_per_batch: Annotated[int, Field(ge=1)] = 30
    batch_bytes: Annotated[int, Field(ge=512)] = 4_096
    partitions_per_batch: Annotated[int, Field(ge=1)] = 10
    batches_in_flight: Annotated[int, Field(ge=1)] = 256
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9102


class Refresh(Section):
    """The process that runs scheduled read models.

    timeout_s: bounds each SQL statement of a run.
    retry_first_s, retry_most_s: the wait after a failed run, doubled with each failure from the first to the most; the
    next tick ends it earlier.
    """

    timeout_s: Annotated[int, Field(ge=1, le=86_400)] = 3_600
    retry_first_s: Annotated[float, Field(gt=0)] = 1.0
    retry_most_s: Annotated[float, Field(gt=0)] = 300.0
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9103


class ReadApi(Section):
    """The read side's HTTP server. wait_ms: the bound on a token's wait; header ``Prefer: wait`` may lower it.

    fallback_connections: to Postgres (as postgres.reader), for reads whose token is not covered in time; 0 asks it never.
    fallback_timeout_ms: bounds the wait for one of them, and then the statement.
    max_streams: of changes, open at a time in a process.
    worker_metrics, relay_metrics: URLs of /metrics of the workers and of the relay, for the page at /; without them it shows
    what this process knows itself.
    """

    host: str = "127.0.0.1"
    port: Port = 8081
    worker_metrics: tuple[str, ...] = ()
    relay_metrics: str | None = None
    read_models: str = "projections:READ_MODELS"
    wait_ms: Annotated[int, Field(ge=0, le=60_000)] = 2_000
    fallback_connections: Annotated[int, Field(ge=0)] = 4
    fallback_timeout_ms: Annotated[int, Field(ge=10)] = 2_000
    page_rows: Annotated[int, Field(ge=1)] = 100
    max_page_rows: Annotated[int, Field(ge=1)] = 1_000
    max_streams: Annotated[int, Field(ge=0)] = 4_000


class Auth(Section):
    """Who may use the APIs: keys of bearer tokens (JWT). Without keys they run open, and on loopback only.

    hs256_secrets: shared secrets by key id (kid), of 32 bytes at least.
    jwks_file: public keys (a JSON Web Key Set), each with its kid.
    issuer, audience: what a token's iss must be, None for any, and what its aud must name.
    leeway_s: seconds that clocks may differ.
    """

    hs256_secrets: dict[str, SecretStr] = {}
    jwks_file: Path | None = None
    issuer: str | None = None
    audience: str = "lockstep"
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 10.0


class Http(Section):
    """Time-outs of both APIs. A request's head, then its body, must have come in time (408); a read be answered (503).

    keep_alive_s: how long a connection is kept between two requests: longer than clients and load balancers keep theirs (5
        and 60 s are usual), so that it is they who close it, and none sends a request into a connection that just ends.
    """

    head_timeout_ms: Annotated[int, Field(ge=10)] = 10_000
    body_timeout_ms: Annotated[int, Field(ge=10)] = 10_000
    read_timeout_ms: Annotated[int, Field(ge=10)] = 15_000
    keep_alive_s: Annotated[int, Field(ge=1)] = 75


class Process(Section):
    """Of every process. stop_s: from SIGTERM on, seconds for the work in flight; what is left then is done again later."""

    stop_s: Annotated[int, Field(ge=1)] = 20


class Settings(BaseSettings):
    """All sections."""

    model_config = SettingsConfigDict(
        env_prefix="LOCKSTEP_",
        env_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    postgres: Postgres = Postgres()
    kafka: Kafka = Kafka()
    cassandra: Cassandra = Cassandra()
    cassandra_roles: CassandraRoles = CassandraRoles()
    command_api: CommandApi = CommandApi()
    relay: Relay = Relay()
    projector: Projector = Projector()
    refresh: Refresh = Refresh()
    read_api: ReadApi = ReadApi()
    auth: Auth = Auth()
    http: Http = Http()
    process: Process = Process()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        path = os.environ.get("LOCKSTEP_FILE")
        file = (_file(settings_cls, Path(path)),) if path else ()
        return (init_settings, env_settings, *file)


def _file(settings_cls: type[BaseSettings], path: Path) -> PydanticBaseSettingsSource:
    """The file's source; a file that is named but can't be read is an error, not an empty file."""
    try:
        path.open("rb").close()
        return TomlConfigSettingsSource(settings_cls, path)
    except (OSError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not TOML: {error}"
        problem = PydanticCustomError(
            "settings_file",
            "{path} can't be read ({reason}): correct it, or unset LOCKSTEP_FILE",
            {"path": str(path), "reason": str(reason)},
        )
        line = InitErrorDetails(type=problem, loc=("LOCKSTEP_FILE",), input=None)
        raise ValidationError.from_exception_data("Settings", [line], hide_input=True) from error
