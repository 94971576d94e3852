"""Servers as fixtures: real ones, shared by the session, with a database, topic and keyspace of its own for each test.

`stack` uses the servers named by LOCKSTEP_TEST_POSTGRES (conninfo of a superuser), LOCKSTEP_TEST_KAFKA and
LOCKSTEP_TEST_CASSANDRA (host:port) when all three are set, and otherwise starts some once for the session and stops them
after it: embedded ones, or containers with LOCKSTEP_TEST_SERVERS=containers. What a test makes is dropped after it, so a
stack that stays up does not fill.

Tests marked `embedded` do to servers what only the embedded stack's supervisor mends; they are left out of a session on
containers, which prints each with its reason.
"""

from __future__ import annotations

import gc
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import hypothesis
import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from deploy.local import ports

if TYPE_CHECKING:
    from cassandra.cluster import Session

    from command_api.process.settings import Settings
    from deploy.local.stack import Running

SERVERS = "LOCKSTEP_TEST_SERVERS"
PATIENT = tuple(Path(__file__).parent / folder for folder in ("oracle", "unit/projector"))
"""Whose tests are marked ``patient``, all of them (see `tests.__main__`)."""
VARIABLES = ("LOCKSTEP_TEST_POSTGRES", "LOCKSTEP_TEST_KAFKA", "LOCKSTEP_TEST_CASSANDRA")
_LEFT_OUT = pytest.StashKey[list[str]]()
FOR_MINUTES = ("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
"""For Java servers that live for minutes: the second compiler would take half of their CPU and hardly earn it."""
_MEMORY, _PLENTY = Path("/dev/shm"), 16 << 30
ROLES = ("lockstep_command_api", "lockstep_relay", "lockstep_reader", "lockstep_refresher")


def on_containers() -> bool:
    """Whether the servers of this session are containers; raises UsageError for a value that means nothing."""
    chosen = os.environ.get(SERVERS) or "embedded"
    if chosen not in ("embedded", "containers"):
        raise pytest.UsageError(f"{SERVERS} is {chosen!r}: say embedded or containers")
    if chosen == "containers" and any(os.environ.get(variable) for variable in VARIABLES):
        raise pytest.UsageError(f"{SERVERS}=containers and {', '.join(VARIABLES)} exclude each other: unset one")
    return chosen == "containers"


def pytest_configure(config: pytest.Config) -> None:
    """The markers, and Hypothesis without deadlines: how long an example takes says how busy the machine is."""
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")
    config.addinivalue_line(
        "markers", "alone: judges time under faults and load of its own; nothing else is run beside it"
    )
    config.addinivalue_line(
        "markers", "patient: judges no time and needs no server but a PostgreSQL; takes the CPU that others leave"
    )
    config.addinivalue_line("markers", "embedded(why): needs servers of the embedded stack; left out on containers")


def pytest_collection_finish() -> None:
    """Look for cycles seldom, and never among what is there by now: it took an eighth of the simulations' CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is patient; leave tests for embedded servers out of a session on containers, and remember why."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in PATIENT):
            item.add_marker(pytest.mark.patient)
    if not on_containers():
        return
    left_out = {item: marker for item in items if (marker := item.get_closest_marker("embedded"))}
    config.stash[_LEFT_OUT] = [f"{item.nodeid}: {marker.args[0]}" for item, marker in left_out.items()]
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which tests this session on containers does not have."""
    if on_containers():
        terminalreporter.section("servers are containers; left out, because they need embedded ones")
        for line in config.stash.get(_LEFT_OUT, []) or ["none"]:
            terminalreporter.write_line(line)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Where the three servers are.

    postgres_admin: conninfo of a superuser on database postgres.
    kafka: bootstrap servers.
    cassandra: host and native port.
    running: the embedded stack when this session started it; None for containers and for servers that were given.
    """

    postgres_admin: str
    kafka: str
    cassandra: tuple[str, int]
    running: Running | None = None


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The servers of this session."""
    given = [os.environ.get(variable, "") for variable in VARIABLES]
    if all(given):
        host, _, port = given[2].rpartition(":")
        yield Stack(postgres_admin=given[0], kafka=given[1], cassandra=(host, int(port)))
        return
    if any(given):
        pytest.fail(f"set all of {', '.join(VARIABLES)} or none of them")
    if on_containers():
        from tests import containers

        with containers.started() as made:
            yield Stack(
                postgres_admin=made.postgres_admin,
                kafka=f"{ports.HOST}:{made.kafka_port}",
                cassandra=(ports.HOST, made.cassandra_port),
            )
        return

    from deploy.local import plan

    with _thrown_away(tmp_path_factory.mktemp("stack"), plan.SERVERS) as running:
        host, _, port = running.address("cassandra").rpartition(":")
        yield Stack(
            postgres_admin=running.postgres_admin,
            kafka=running.address("kafka"),
            cassandra=(host, int(port)),
            running=running,
        )


@contextmanager
def _thrown_away(folder: Path, servers: tuple[str, ...]) -> Iterator[Running]:
    """Servers whose data nobody needs again: in memory where there is plenty, with their logs in `folder` after the end.

    On the disk a fresh database a test is hundreds of files made and removed: 0.4 s of the kernel's CPU instead of 0.04 where
    the file system discards what is removed.
    """
    from deploy.local.stack import Options, start

    with ExitStack() as ended:
        place = folder
        if (
            psutil.virtual_memory().total >= _PLENTY
            and _MEMORY.is_dir()
            and psutil.disk_usage(str(_MEMORY)).free >= _PLENTY / 2
        ):
            place = Path(ended.enter_context(folder_in(_MEMORY)))
            place.chmod(0o755)  # PostgreSQL does not run as root
            (place / "logs").mkdir()  # there to be copied even if nothing can be started
            ended.callback(lambda: shutil.copytree(place / "logs", folder / "logs"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(*FOR_MINUTES)
            running = start(Options(folder=place, only=servers, throw_away=True))
        yield ended.enter_context(running)


def folder_in(memory: Path) -> TemporaryDirectory[str]:
    """A folder for this process; those of test runs that were killed, which nobody else would ever remove, go first."""
    for left in memory.glob("lockstep-*-*"):
        owner = left.name.split("-")[1]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    return TemporaryDirectory(prefix=f"lockstep-{os.getpid()}-", dir=memory, ignore_cleanup_errors=True)


@pytest.fixture(scope="session")
def judge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Conninfo of a superuser of a PostgreSQL for patient tests: the one that was given, else one started without other servers."""
    if given := os.environ.get(VARIABLES[0]):
        yield given
        return
    if on_containers():
        stack: Stack = request.getfixturevalue("stack")
        yield stack.postgres_admin
        return
    with _thrown_away(tmp_path_factory.mktemp("judge"), ("postgres",)) as running:
        _as_patient_as_we_are(running.state.supervisor.pid)
        yield running.postgres_admin


def _as_patient_as_we_are(pid: int) -> None:
    """Give a process's session the priority that ours has among sessions; without effect where the kernel has no such."""
    with suppress(OSError):
        own = Path("/proc/self/autogroup").read_text()  # "/autogroup-25 nice 19"
        Path(f"/proc/{pid}/autogroup").write_text(own.split()[-1])


def _password(admin: str, role: str) -> str:
    # Roles belong to the cluster: sessions that share one must agree on the password without speaking to each other.
    return hashlib.sha256(f"{admin} {role}".encode()).hexdigest()


@contextmanager
def _made_database(stack: Stack, template: str = "template1") -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(stack.postgres_admin, autocommit=True) as admin:
        admin.execute(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template)))
    yield make_conninfo(stack.postgres_admin, dbname=name)
    with psycopg.connect(stack.postgres_admin, autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_replication r join pg_stat_activity a using (pid)"
            " where a.datname = %s",
            (name,),
        )
        deadline = "clock_timestamp() + interval '10 s'"
        admin.execute(
            f"do $$ declare stop timestamptz := {deadline}; begin"
            f" while exists (select from pg_replication_slots where database = '{name}' and active)"
            " and clock_timestamp() < stop loop perform pg_sleep(0.01); end loop; end $$"
        )
        admin.execute(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = %s", (name,)
        )
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def empty_database(stack: Stack) -> Iterator[str]:
    """Conninfo of a superuser on a fresh database without tables; its replication slots are dropped with it."""
    with _made_database(stack) as made:
        yield made


@pytest.fixture(scope="session")
def migrated_database() -> Iterator[Callable[[Stack], str]]:
    """Gives the name of a stack's database with every migration applied and the roles' passwords set; nobody connects to it."""
    from command_api.migrations.apply import migrate

    names: dict[str, str] = {}
    with ExitStack() as ended:

        def name_of(stack: Stack) -> str:
            if stack.postgres_admin not in names:
                # Servers of a module's own may be gone at the session's end, and the database with them.
                ended.enter_context(suppress(psycopg.OperationalError))
                made = ended.enter_context(_made_database(stack))
                migrate(postgres_settings(stack, made))
                names[stack.postgres_admin] = str(conninfo_to_dict(made)["dbname"])
            return names[stack.postgres_admin]

        yield name_of


@pytest.fixture
def database(stack: Stack, migrated_database: Callable[[Stack], str]) -> Iterator[str]:
    """Conninfo of a superuser on a fresh copy of the stack's migrated database."""
    with _made_database(stack, migrated_database(stack)) as made:
        yield made


@pytest.fixture
def postgres(stack: Stack, database: str):  # type: ignore[no-untyped-def]  # the import is late on purpose
    """The Postgres section of the settings for this test's database; for tests that need no other server."""
    return postgres_settings(stack, database)


@pytest.fixture
def topic(stack: Stack) -> Iterator[str]:
    """A fresh topic of one partition, without a limit on its retention."""
    from confluent_kafka.admin import AdminClient, NewTopic

    name = f"test-{secrets.token_hex(6)}"
    admin = AdminClient({"bootstrap.servers": stack.kafka, "log_level": 3})
    config = {"retention.ms": "-1", "max.message.bytes": str(64 << 20)}
    made = admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1, config=config)])
    made[name].result(20)
    yield name
    beside = [found for found in admin.list_topics(timeout=20).topics if found.startswith(f"{name}.")]
    for deleted in admin.delete_topics([name, *beside]).values():
        deleted.result(20)


@contextmanager
def driver_session(stack: Stack) -> Iterator[Session]:
    """A driver session without a keyspace or its schema; it looks for a node that is away for as long as that takes."""
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import ConstantReconnectionPolicy, DCAwareRoundRobinPolicy

    host, port = stack.cassandra
    profile = ExecutionProfile(load_balancing_policy=DCAwareRoundRobinPolicy("datacenter1"), request_timeout=30)
    cluster = Cluster(
        [host],
        port=port,
        protocol_version=5,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(0.5, max_attempts=None),
        schema_metadata_enabled=False,
    )
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()


@pytest.fixture(scope="session")
def cassandra_session(stack: Stack) -> Iterator[Session]:
    """A driver session with the stack's Cassandra, for what a test does to its keyspace from outside."""
    with driver_session(stack) as session:
        yield session


@pytest.fixture
def keyspace(cassandra_session: Session) -> Iterator[str]:
    """The name of a keyspace that does not exist yet; it is dropped after the test if the test made it."""
    name = f"test_{secrets.token_hex(6)}"
    yield name
    cassandra_session.execute(f"drop keyspace if exists {name}", timeout=120)  # seconds; it waits for what flushes


@pytest.fixture
def settings(stack: Stack, database: str, topic: str, keyspace: str, tmp_path: Path) -> Settings:
    """Settings of every process, wired to this test's database, topic and keyspace; ports are 0, the replica is new."""
    from command_api.process.settings import Cassandra, CommandApi, Kafka, Projector, ReadApi, Refresh, Relay, Settings

    host, port = stack.cassandra
    name = keyspace
    return Settings(
        postgres=postgres_settings(stack, database),
        kafka=Kafka(bootstrap_servers=stack.kafka, topic=topic, group_id=name),
        cassandra=Cassandra(contact_points=(host,), port=port, keyspace=keyspace),
        command_api=CommandApi(port=0),
        relay=Relay(slot=name, publication=name, metrics_port=0),
        projector=Projector(projection=name, replica=tmp_path / "replica.sqlite", metrics_port=0),
        refresh=Refresh(metrics_port=0),
        read_api=ReadApi(port=0),
    )


def postgres_settings(stack: Stack, admin: str):  # type: ignore[no-untyped-def]  # the import is late on purpose
    """The Postgres section for the database of `admin`, each role with a password of its own."""
    from command_api.process.settings import Postgres

    command_api, relay, reader, refresher = (
        make_conninfo(admin, user=role, password=_password(stack.postgres_admin, role)) for role in ROLES
    )
    return Postgres(admin=admin, command_api=command_api, relay=relay, reader=reader, refresher=refresher)  # type: ignore[arg-type]
