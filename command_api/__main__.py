"""``command-api``: serve the write side, migrate its database, keep its months, print its OpenAPI document, purge
old idempotency keys, mint a token."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Annotated

import psycopg
import typer
from pydantic import ValidationError

from command_api import idempotency, months
from command_api.database import Connection
from command_api.migrations.apply import MigrationError
from command_api.migrations.apply import migrate as apply_migrations
from command_api.process.access.errors import KeysError
from command_api.process.access.mint import mint
from command_api.process.logging import configure_logging, get_logger, mask_text
from command_api.process.postgres_login import LoginError
from command_api.process.settings import Settings
from command_api.serve import BindError
from command_api.serve import serve as run_server

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="The write side: commands over HTTP, each one transaction in Postgres.\n\n"
    "Settings come from the environment (`LOCKSTEP_…`) over the TOML file named by `LOCKSTEP_FILE`.\n\n"
    "Example: `LOCKSTEP_POSTGRES__ADMIN='host=db dbname=app user=postgres' command-api migrate && command-api serve`",
)

LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.")]


def _fail(message: str) -> typer.Exit:
    typer.echo(f"command-api: {mask_text(message)}", err=True)
    return typer.Exit(1)


def _settings(log_level: str) -> Settings:
    try:
        configure_logging(log_level)
        return Settings()
    except ValidationError as error:
        # Not str(error): it repeats the input, which may be a secret.
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise _fail(f"the settings are not valid: {faults}") from None
    except (ValueError, OSError) as error:
        raise _fail(str(error)) from None


@app.command()
def serve(log_level: LogLevel = "info") -> None:
    """Serve the commands over HTTP until SIGTERM.

    Example: `LOCKSTEP_COMMAND_API__PORT=8080 command-api serve`, then
    `curl -d '{"name":"Ada"}' -H 'Content-Type: application/json' http://127.0.0.1:8080/users`
    """
    settings = _settings(log_level)
    try:
        run_server(settings)
    except (BindError, KeysError, LoginError, psycopg.ProgrammingError) as error:
        raise _fail(str(error)) from None


@app.command()
def migrate(
    revision: Annotated[str, typer.Option(help="Stop at this revision.")] = "head", log_level: LogLevel = "info"
) -> None:
    """Bring the database's schema and roles up to date, as the admin; running it again changes nothing.

    Example: `LOCKSTEP_POSTGRES__ADMIN='host=db dbname=app user=postgres sslmode=verify-full' command-api migrate`
    """
    settings = _settings(log_level)
    try:
        at = apply_migrations(settings.postgres, revision)
    except MigrationError as error:
        raise _fail(str(error)) from None
    get_logger(__name__).info("migrated", revision=at)


@app.command()
def openapi() -> None:
    """Print the OpenAPI document.

    Example: `command-api openapi > openapi.json`
    """
    from command_api.app import create_app

    json.dump(create_app(_settings("warning")).openapi(), sys.stdout, indent=2)
    sys.stdout.write("\n")


@app.command("mint-token")
def mint_token(
    subject: Annotated[str, typer.Option(help="Who asks, as a user's id.")],
    scope: Annotated[str, typer.Option(help="What they may, names with spaces between.")] = "read:* command:*",
    minutes: Annotated[float, typer.Option(min=0.1, max=1_440, help="How long.")] = 60,
    kid: Annotated[str | None, typer.Option(help="The secret to sign with; by default the last.")] = None,
) -> None:
    """Print a bearer token for development, signed with a secret of LOCKSTEP_AUTH__HS256_SECRETS.

    Example: `command-api mint-token --subject 01938d7e-5c3a-7b4e-9f00-3a5b1c2d4e6f --scope 'read:* command:orders'`
    """
    try:
        typer.echo(mint(_settings("warning").auth, subject=subject, scopes=scope, seconds=minutes * 60, kid=kid))
    except KeysError as error:
        raise _fail(str(error)) from None


@app.command("months")
def keep_months(
    ahead: Annotated[int, typer.Option(min=1, max=120, help="Coming months to make.")] = 3,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1, help="Whole months to keep before the present one; older ones are dropped. All by default."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Rows that one transaction deletes.")] = 5_000,
    log_level: LogLevel = "info",
) -> None:
    """Make the coming months of messages, and let go of old ones, as the admin; run it daily.

    An old month's messages are deleted before it is dropped, so that they leave the read models too.

    Example: `command-api months --ahead 3 --keep 24`
    """
    settings = _settings(log_level)
    try:
        kept = months.keep(settings.postgres.admin.get_secret_value(), ahead=ahead, months=keep, batch=batch)
    except psycopg.Error as error:
        raise _fail(
            f"the months can't be kept: {error}; check LOCKSTEP_POSTGRES__ADMIN, run command-api migrate, and try again"
        ) from None
    get_logger(__name__).info("months kept", made=len(kept.made), dropped=len(kept.dropped), deleted=kept.deleted)


@app.command("purge-keys")
def purge_keys(log_level: LogLevel = "info") -> None:
    """Delete the idempotency keys that have expired; run it daily.

    Example: `command-api purge-keys`
    """
    settings = _settings(log_level)

    async def purge() -> int:
        conninfo = settings.postgres.command_api.get_secret_value()
        async with await Connection.connect(conninfo, autocommit=True) as connection:
            return await idempotency.purge(connection)

    try:
        deleted = asyncio.run(purge())
    except psycopg.Error as error:
        raise _fail(
            f"cannot purge: {error}; check LOCKSTEP_POSTGRES__COMMAND_API and run command-api migrate"
        ) from None
    get_logger(__name__).info("purged", keys=deleted)


def main() -> None:
    """The console entry point."""
    app()


if __name__ == "__main__":
    main()
