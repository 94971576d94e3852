"""``python -m deploy.containers``: an engine, stand-in images, secrets for compose.yaml, the demonstration against it.

What is for a shell goes to standard output (`eval "$(python -m deploy.containers engine up)"`), all else to standard error.
Errors are printed with their remedy and end with exit code 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer
from rich.console import Console

from deploy.containers import images
from deploy.local.errors import StackError
from deploy.local.folders import STACK_FOLDER

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
engine_commands = typer.Typer(
    no_args_is_help=True,
    help="A Docker engine where there is none, from Debian's packages; an engine that answers is left alone.",
)
app.add_typer(engine_commands, name="engine")
console = Console(stderr=True, highlight=False, soft_wrap=True)

EngineFolder = Annotated[Path, typer.Option(help="Of the engine's data, socket, log and pid file; short paths only.")]
ENGINE_FOLDER = STACK_FOLDER / "docker"

P = ParamSpec("P")


def _reported(command: Callable[P, None]) -> Callable[P, None]:
    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except StackError as error:
            console.print(f"error: {error}", style="red", markup=False)
            raise typer.Exit(1) from None

    return run


@engine_commands.command("up")
@_reported
def engine_up(folder: EngineFolder = ENGINE_FOLDER) -> None:
    """Have a Docker engine: print the variables that lead to it, none when one answers already.

    Installs docker.io, iptables and debootstrap if they are missing, which needs root and Debian, and gives docker the
    compose plugin of Debian's next release.

    Example: eval "$(python -m deploy.containers engine up)"
    """
    from deploy.containers import engine

    found = engine.up(folder)
    console.print(f"an engine runs in {folder}" if found else "an engine answers already: it is left alone")
    typer.echo(images.shell(found), nl=False)


@engine_commands.command("down")
@_reported
def engine_down(
    folder: EngineFolder = ENGINE_FOLDER,
    remove: Annotated[bool, typer.Option("--remove", help="Remove its images, containers and volumes too.")] = False,
) -> None:
    """End the engine that `engine up` started, with its containers; an engine of somebody else is left alone.

    Example: python -m deploy.containers engine down --remove
    """
    from deploy.containers import engine

    console.print("ended" if engine.down(folder, remove=remove) else f"no engine of {folder} runs")


@app.command("images")
@_reported
def make_images() -> None:
    """Build stand-ins for the official images of PostgreSQL, Kafka, Cassandra and Python; print the variables that choose them.

    They hold the servers that the local stack runs, on Debian by debootstrap (root). Without them the official images are
    used, which is what to do wherever they can be pulled: with these variables set, no official image is run.

    Example: eval "$(python -m deploy.containers images)"
    """
    from deploy.containers import build
    from deploy.containers.run import run

    build.stand_ins(console)
    replaced = ", ".join(image.official for image in (*images.SERVERS.values(), images.PYTHON))
    console.print(f"these stand in for {replaced}, which are not run")
    reaper = bool(run(("docker", "image", "ls", "--quiet", images.REAPER), hint="is there an engine?").strip())
    typer.echo(images.shell(images.stand_in_variables(reaper=reaper)), nl=False)


@app.command("image")
@_reported
def make_image() -> None:
    """Build the project's own image, on LOCKSTEP_PYTHON_IMAGE; its name is LOCKSTEP_IMAGE, by default lockstep/projections.

    Example: python -m deploy.containers image
    """
    from deploy.containers import build

    build.project(console)


@app.command("secrets")
@_reported
def make_secrets(
    folder: Annotated[Path, typer.Option(help="What LOCKSTEP_SECRETS names for compose.yaml.")] = STACK_FOLDER
    / "secrets",
    host: Annotated[str, typer.Option(help="Of Postgres, as the processes see it.")] = "postgres",
    port: Annotated[int, typer.Option(help="Of Postgres.")] = 5432,
    database: Annotated[str, typer.Option(help="The application's database.")] = "app",
) -> None:
    """Make passwords and keys once, and write the files that compose.yaml mounts; may be repeated.

    Example: python -m deploy.containers secrets
    """
    from deploy.containers import secrets

    written = secrets.write(folder, host=host, port=port, database=database)
    console.print(f"{len(written)} files in {folder}, readable by nobody else", markup=False)


@app.command()
@_reported
def demo() -> None:
    """Run the demonstration against processes and servers that run already, with empty tables; the settings say where.

    command_api.host and .port, read_api.host and .port are what it sends to; with keys in `auth` it signs its own tokens.
    LOCKSTEP_FEED_THRESHOLD must be what the processes have: 1000 shows hot authors.

    Example: docker compose -f deploy/compose.yaml run --rm demo
    """
    from command_api.process.settings import Settings
    from deploy.local.demo import run_demo

    raise typer.Exit(run_demo(Settings()))
