"""``projector dead-letters list`` and ``retry``: what Cassandra refuses, and trying it again.

A retry travels like a repair (`projector.apply.requests`): the keys go into Postgres's own log, and every worker recomputes
them in the batch that holds the request, at its LSN. What Cassandra takes by then is written and its mark is cleared; what it
still refuses stays, with that LSN.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import typer
from cassandra.cluster import Session

from command_api.lsn import Lsn
from command_api.process.settings import Settings
from projections.cassandra_table import cassandra_table
from projections.read_model import ReadModel
from projector.apply import requests
from projector.cassandra.encode import RowEncoder
from projector.cassandra.progress import read_positions
from projector.cassandra.session import close, connect
from projector.configured import ConfigurationError, load_read_models
from projector.coverage import Target
from projector.dead_letters.errors import DeadLetterError
from projector.dead_letters.letters import Letter
from projector.dead_letters.marks import Marks
from projector.generations.tables import written_now
from projector.verify.errors import SourceError
from projector.verify.source import Source

_POLL_S = 0.05
dead_letters = typer.Typer(
    no_args_is_help=True,
    help="Rows that Cassandra refuses: marked, and answered from Postgres until they can be written.\n\n"
    "Example: projector dead-letters list",
)


@dead_letters.command("list")
def list_(
    model: Annotated[str | None, typer.Argument(help="A read model; all of them when it is left out.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print them: read model, key (in replica form), since when, the position of the last try, the reason.

    Example: projector dead-letters list orders_by_user
    """
    settings = Settings()
    with_session(settings, lambda session: _print(_letters(session, settings, model), json_=json_))


@dead_letters.command()
def retry(
    model: Annotated[str | None, typer.Argument(help="A read model; all of them when it is left out.")] = None,
    keys: Annotated[
        list[str] | None, typer.Argument(help="Keys as `list` prints them, JSON arrays; all when they are left out.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the outcome; 0 only asks.")] = 60.0,
) -> None:
    """Have the workers write them again. Ends with 1 when some are still refused.

    Example: projector dead-letters retry orders_by_user '["0190…", 1709251200000000, "0190…"]'
    """
    settings = Settings()

    def work(session: Session) -> int:
        return _retry(session, settings, model, keys or (), wait)

    if with_session(settings, work):
        raise typer.Exit(1)


def with_session(settings: Settings, work: Callable[[Session], Any]) -> Any:
    """What `work` gives, with a connection to Cassandra that is closed afterwards."""
    session = connect(settings.cassandra)
    try:
        return work(session)
    finally:
        close(session)


def _retry(session: Session, settings: Settings, model: str | None, keys: Sequence[str], wait: float) -> int:
    """How many are left."""
    chosen = _chosen(_letters(session, settings, model), keys)
    if not chosen:
        typer.echo("there are no dead letters")
        return 0
    asked = {letter.id for letter in chosen}
    source = Source((settings.postgres.verifier or settings.postgres.relay).get_secret_value())
    position = Lsn(0)
    models = {found.name: found for found in load_read_models(settings.projector.read_models)}
    for name in dict.fromkeys(letter.model for letter in chosen):
        found = [key for letter in chosen if letter.model == name if (key := _key(models[name], letter)) is not None]
        if found:
            try:
                _, position = source.emit(requests.REPAIR, requests.repairs(models[name], found))
            except SourceError as error:
                raise DeadLetterError(f"nothing is asked for: {error}") from error
    without = sum(_key(models[letter.model], letter) is None for letter in chosen)
    typer.echo(f"asked for {len(chosen) - without} of {len(chosen)}, up to {position}")
    if without:
        typer.echo(f"{without} have a key that no row in Cassandra can have: change their source rows")
    if not wait:
        return 0
    _wait(session, settings, {letter.model for letter in chosen}, position, wait)
    left = [letter for letter in _letters(session, settings, model) if letter.id in asked]
    typer.echo(f"{len(chosen) - len(left)} written or gone, {len(left)} still refused")
    _print(left, json_=False)
    return len(left)


def _letters(session: Session, settings: Settings, model: str | None) -> list[Letter]:
    names = [found.name for found in load_read_models(settings.projector.read_models)]
    if model is not None and model not in names:
        raise ConfigurationError(f"no read model {model!r}: there are {', '.join(names)}")
    marks = Marks(session, _target(session, settings), threading.Event())
    return sorted(marks.read(names if model is None else [model]), key=lambda x: (x.model, x.since, x.row))


def _target(session: Session, settings: Settings) -> Target:
    chosen = settings.projector
    return Target(
        keyspace=settings.cassandra.keyspace,
        projection=chosen.projection,
        epoch=chosen.epoch,
        tables=written_now(session, settings, load_read_models(chosen.read_models)),
    )


def _chosen(letters: list[Letter], keys: Sequence[str]) -> list[Letter]:
    wanted = {_canonical(key) for key in keys}
    unknown = wanted - {letter.key for letter in letters if letter.key is not None}
    if unknown:
        raise DeadLetterError(f"no dead letter has the key {', '.join(sorted(unknown))}: `projector dead-letters list`")
    return [letter for letter in letters if not wanted or letter.key in wanted]


def _canonical(key: str) -> str:
    try:
        values = msgspec.json.decode(key)
    except msgspec.DecodeError as error:
        raise DeadLetterError(f"{key!r} is no JSON array of a key's values ({error}): copy it from the list") from error
    return msgspec.json.encode(values).decode()


def _key(model: ReadModel, letter: Letter) -> requests.Key | None:
    """The key of a letter; None when Cassandra can have no row with it, or when it is too long to be known here."""
    if letter.key is None:
        return None
    (key,) = requests.decoded(model, [msgspec.json.decode(letter.key)])
    refused = RowEncoder(cassandra_table(model, "any")).refusals([key], keys_only=True)
    return None if refused else key


def _wait(session: Session, settings: Settings, models: set[str], position: Lsn, seconds: float) -> None:
    until = time.monotonic() + seconds
    target = _target(session, settings)
    while True:
        positions = read_positions(session, target.keyspace, target.projection, 0)
        late = [name for name in models if (at := positions.get(target.table(name))) is None or at.lsn < position]
        if not late:
            return
        if time.monotonic() > until:
            raise DeadLetterError(
                f"{', '.join(sorted(late))} did not cover {position} within {seconds:g} s: are the relay and a worker running"
                " (`projector status`)? What was asked for is in the log and will be done"
            )
        time.sleep(_POLL_S)  # a poll inside the deadline: Cassandra tells nobody of a new position


def _print(letters: Sequence[Letter], *, json_: bool) -> None:
    for letter in letters:
        if json_:
            found = {
                "read_model": letter.model,
                "key": None if letter.key is None else msgspec.json.decode(letter.key),
                "since": letter.since_text,
                "lsn": str(Lsn(letter.lsn)),
                "reason": letter.reason,
            }
            typer.echo(msgspec.json.encode(found).decode())
        else:
            typer.echo(
                "\t".join(
                    (
                        letter.model,
                        letter.key or "(a key too long to be kept)",
                        letter.since_text,
                        str(Lsn(letter.lsn)),
                        letter.reason,
                    )
                )
            )  # fmt: skip
