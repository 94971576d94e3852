"""What a worker can be asked for through the log: the messages ``lockstep.repair``, ``lockstep.rebuild`` and
``lockstep.rebuild_partition``. Pure.

A request stands in the log at its own place in the order, so every worker meets it at the same cut, and what it then
writes carries that batch's LSN like any other write: a later change wins over it. A request carries no data, only keys:
what is written for them is what the worker's replica says then.

repair:   {"model": "orders_by_user", "keys": [[…], …]}   recompute these keys: write their rows, or delete them
rebuild:  {"model": "orders_by_user"}                      build the replica anew from the log
rebuild_partition: {"model": "home_timeline", "keys": [[…], …]}  write the partitions of inactive readers of a feed anew,
          and take the readers for active from that commit on; their keys are partition keys

Keys are in replica form (`projections.values`), in the order of the read model's key; bytes are base64.
A request that can't be read, or whose keys are not of its model, raises `RequestError`: the worker says so, counts it
and goes on. That loses nothing, since no table's contents depend on a request, and whoever asked looks at the outcome.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from command_api.envelope import Message
from projections.cassandra_table import cassandra_table
from projections.feed_tables import skipped_readers_table
from projections.read_model import ReadModel
from projections.values import Kind, ValueType
from projector.apply.transaction import Transaction
from projector.cassandra.encode import RowEncoder

REPAIR = "lockstep.repair"
REBUILD = "lockstep.rebuild"
WAKE = "lockstep.rebuild_partition"

Key = tuple[Any, ...]
MOST_KEYS = 1_000  # of one message
_MOST_BYTES = 256 * 1024


class RequestError(ValueError):
    """A request that this worker can't carry out as it stands."""


class RebuildAskedError(RuntimeError):
    """The replica is to be set aside and built anew from the log."""

    def __init__(self, model: str, offset: int) -> None:
        super().__init__(f"a rebuild was asked for at log offset {offset}, because read model {model} is wrong")


@dataclass(frozen=True, kw_only=True)
class Repair:
    """model: the name of a read model, perhaps of another worker. keys: still as the message has them."""

    model: str
    keys: list[list[Any]]


@dataclass(frozen=True, kw_only=True)
class Rebuild:
    """model: workers that maintain it build their replica anew."""

    model: str


@dataclass(frozen=True, kw_only=True)
class Wake:
    """model: the name of a feed, perhaps of another worker. readers: partition keys, as the message has them."""

    model: str
    readers: list[list[Any]]


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    keys: list[list[int | str | float | None]] | None = None


def read(message: Message) -> Repair | Rebuild | Wake | None:
    """The request that a message of the log makes; None for another kind of message. Raises RequestError."""
    if message.prefix not in (REPAIR, REBUILD, WAKE):
        return None
    try:
        content = msgspec.json.decode(base64.b64decode(message.content or "", validate=True), type=_Content)
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise RequestError(f"a {message.prefix} message that can't be read: {error}") from error
    if message.prefix == REBUILD:
        return Rebuild(model=content.model)
    if content.keys is None:
        raise RequestError(f"a {message.prefix} message without keys")
    if message.prefix == WAKE:
        return Wake(model=content.model, readers=content.keys)
    return Repair(model=content.model, keys=content.keys)


def asked(
    transactions: Iterable[Transaction],
    models: Mapping[str, ReadModel],
    born: int,
    refuse: Callable[[RequestError], None],
) -> dict[str, list[Key]]:
    """The keys of each read model that transactions ask to repair. Raises RebuildAskedError.

    born: the log's end when the replica was begun; rebuilds that were asked for before it are done. refuse: told what
    can't be carried out. Read models of other workers are theirs to mend.
    """
    found: dict[str, list[Key]] = {}
    for transaction in transactions:
        for offset, message in transaction.changes.messages:
            try:
                request = read(message)
                if request is None or request.model not in models or isinstance(request, Wake):
                    continue
                if isinstance(request, Rebuild):
                    if offset >= born:
                        raise RebuildAskedError(request.model, offset)
                    continue
                found.setdefault(request.model, []).extend(keys_of(models[request.model], request.keys))
            except RequestError as error:
                if message.prefix != WAKE:  # which `woken` refuses
                    refuse(RequestError(f"log offset {offset}: {error}"))
    return found


def woken(
    transactions: Iterable[Transaction], models: Mapping[str, ReadModel], refuse: Callable[[RequestError], None]
) -> Iterator[tuple[str, Any, int]]:
    """(feed, reader, commit time in microseconds) of each partition that is to be written anew; refuse: as of `asked`."""
    for transaction in transactions:
        for offset, message in transaction.changes.messages:
            if message.prefix != WAKE:
                continue
            try:
                request = read(message)
                if isinstance(request, Wake) and request.model in models:
                    for reader in readers_of(models[request.model], request.readers):
                        yield request.model, reader, transaction.committed_at
            except RequestError as error:
                refuse(RequestError(f"log offset {offset}: {error}"))


def readers_of(model: ReadModel, keys: Iterable[Sequence[Any]]) -> list[Any]:
    """Partition keys of a message as readers in replica form; raises RequestError for what is none."""
    if model.fan_out is None:
        raise RequestError(f"read model {model.name} is no feed: its partitions are whole")
    readers = []
    for key in keys:
        if len(key) != 1:
            raise RequestError(f"a partition key of {len(key)} values for feed {model.name}, whose key is its reader")
        readers.append(_value(model, model.columns[model.partition_key[0]], key[0]))
    table = skipped_readers_table(model, "any")
    refused = RowEncoder(table).refusals([(reader,) for reader in readers], keys_only=True)
    if refused:
        raise RequestError(f"feed {model.name} has no reader {refused[0][1].key}: {refused[0][1].reason}")
    return readers


def keys_of(model: ReadModel, keys: Iterable[Sequence[Any]]) -> list[Key]:
    """Keys of a message as keys of the replica; raises RequestError for what is no key of the model."""
    found = decoded(model, keys)
    refused = RowEncoder(cassandra_table(model, "any")).refusals(found, keys_only=True)
    if refused:
        raise RequestError(f"read model {model.name} has no key {refused[0][1].key}: {refused[0][1].reason}")
    return found


def decoded(model: ReadModel, keys: Iterable[Sequence[Any]]) -> list[Key]:
    """As `keys_of`, also of keys that Cassandra refuses."""
    kinds = [model.columns[name] for name in model.key]
    return [_key(model, kinds, key) for key in keys]


def repairs(model: ReadModel, keys: Iterable[Key]) -> Iterator[str]:
    """The contents of the messages that ask for the repair of these keys, each of bounded size."""
    head = '{"model":' + msgspec.json.encode(model.name).decode() + ',"keys":['
    taken: list[str] = []
    size = 0
    for key in keys:
        text = msgspec.json.encode(key).decode()  # bytes become base64
        if taken and (len(taken) == MOST_KEYS or size + len(text) > _MOST_BYTES):
            yield head + ",".join(taken) + "]}"
            taken, size = [], 0
        taken.append(text)
        size += len(text)
    if taken:
        yield head + ",".join(taken) + "]}"


def rebuild(model: ReadModel) -> str:
    """The content of the message that asks for a rebuild."""
    return msgspec.json.encode({"model": model.name}).decode()


def _key(model: ReadModel, kinds: list[ValueType], values: Sequence[Any]) -> Key:
    if len(values) != len(kinds):
        raise RequestError(f"a key of {len(values)} values for read model {model.name}, whose key is {model.key}")
    return tuple(_value(model, kind, value) for kind, value in zip(kinds, values, strict=True))


def _value(model: ReadModel, kind: ValueType, value: Any) -> Any:
    wanted = str if kind.sqlite in ("TEXT", "BLOB") else int
    if type(value) is not wanted:
        raise RequestError(f"{value!r} in a key of read model {model.name}, where a {kind.kind} is expected")
    if kind.kind is Kind.BYTES:
        try:
            return base64.b64decode(str(value), validate=True)
        except binascii.Error as error:
            raise RequestError(f"a key of read model {model.name} with bytes that are not base64") from error
    return value
