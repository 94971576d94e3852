"""Bring one database's schema and the cluster's roles to what this version of the code expects.

Promised: running it again changes nothing but passwords; two runs at once on one database wait for each other; runs on
several databases of one cluster may overlap. Not promised: that the old code works on the new schema, or a way back.
"""

from __future__ import annotations

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from command_api.migrations import roles
from command_api.process.settings import Postgres

LOCK = 0x6C6F636B73746570  # "lockstep", the advisory lock that serializes migrations of one database


class MigrationError(Exception):
    """The schema could not be brought up to date; the message says where and what to do."""


def configuration() -> Config:
    """Alembic's configuration, made here so that an installed package needs no ini file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def migrate(postgres: Postgres, revision: str = "head") -> str:
    """Apply what is missing up to `revision` as `postgres.admin`, then set the roles' passwords that the settings give.

    Returns the revision that the database is at now. Raises MigrationError.
    """
    conninfo = postgres.admin.get_secret_value()
    # The creator hands libpq the conninfo as it is, so its TLS and service settings apply.
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo), poolclass=NullPool)
    config = configuration()
    try:
        with engine.connect() as connection:
            connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": LOCK})
            connection.commit()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()
            at = connection.execute(text("select version_num from alembic_version")).scalar_one()
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            driver.rollback()
            roles.set_passwords(driver, postgres)
            # The lock belongs to the session, which ends here.
    except OperationalError as error:
        raise MigrationError(
            f"cannot reach the database as the admin: {error.orig}; check LOCKSTEP_POSTGRES__ADMIN and that it is up"
        ) from error
    except (DBAPIError, psycopg.Error) as error:
        raise MigrationError(
            f"a migration failed and was rolled back: {getattr(error, 'orig', error)}; the admin must own the schema "
            "and be allowed to create roles with the replication attribute"
        ) from error
    return str(at)
