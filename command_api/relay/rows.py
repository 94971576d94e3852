"""Compiles, for one relation, the code that turns pgoutput tuples into the log's keys and values.

A row is encoded by straight-line code: one block a column, no loop, no dict, one join of the whole envelope's pieces, which
takes half the time of a template. That is three to five times as fast as a loop over columns (see tests/bench/relay.py). The code is generated
from the relation's column names and types only; names enter it as JSON inside constants, never as code.

Promised: bytes that are JSON of the contract in `command_api.envelope`, or a PgoutputError; a tuple is read exactly to
the message's end. What the slower reader (`pgoutput.decode`, then `RowEncoders.change`) makes of a message is the same.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from command_api import envelope
from command_api.relay import encodings
from command_api.relay.encodings import ColumnType
from command_api.relay.errors import PgoutputError
from command_api.relay.pgoutput import UNCHANGED, Relation, Row

Encoded = tuple[bytes | None, bytes]
"""A record's key and value."""
TupleEncoder = Callable[[bytes, int, bytes, int, bytes, int, int], Encoded]
"""(message, offset of the tuple, what stands before the lsn, lsn, what follows it, total order, order in the table)"""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What `source` says of every record. name: Debezium's topic.prefix. database: the database's name."""

    name: str
    database: str


@dataclass(frozen=True, kw_only=True)
class RowEncoders:
    """One relation's encoders.

    tuple_: a whole new row straight from the message's bytes, with ``before`` null: the fast way.
    values: ``{"column": value, …}`` from values; partial: the same of the key's columns only.
    key: the record's key from values.
    change: a record's value from two encoded rows (or ``null``).
    numbered: ``"<table>":{"column": number, …}``, the table's member of END's ``columns``; empty when they are not known.
    """

    relation: Relation
    table: str
    table_json: bytes
    key_positions: tuple[int, ...]
    tuple_: TupleEncoder
    values: Callable[[Row], bytes]
    partial: Callable[[Row], bytes]
    key: Callable[[Row], bytes]
    change: Callable[[bytes, bytes, bytes, int, bytes, bytes, int, int], bytes]
    numbered: bytes


# How a value `v` of these types is written: the commonest are expressions, all others call their encoder.
_EXPRESSIONS: Final = {
    "int2": "v if v.isdigit() else integer(v)",
    "int4": "v if v.isdigit() else integer(v)",
    "int8": "v if v.isdigit() else integer(v)",
    "bool": "TRUE if v == b't' else boolean(v)",
}
_TEXT_EXPRESSION: Final = "dumps(v.decode())"
_TIMESTAMPTZ_EXPRESSION: Final = (
    "b'\"%bT%bZ\"' % (v[:10], v[11:26])"
    " if len(v) == 29 and v[10] == 32 and v[26:] == b'+00' and v[:26].translate(None, b'0123456789-:. ') == b''"
    " else e{i}(v)"
)
_SHORT: Final = frozenset({"bool", "int2", "int4", "int8", "oid", "uuid", "timestamptz", "timestamp", "date", "time"})
"""Types whose text is shorter than 256 bytes, so that its length is one byte."""


def _expression(i: int, of: ColumnType) -> str:
    if of.element is None:
        if of.name in _EXPRESSIONS:
            return _EXPRESSIONS[of.name]
        if of.name == "timestamptz" and of.precision == 6:
            return _TIMESTAMPTZ_EXPRESSION.format(i=i)
        if encodings.encoder(of) is encodings.text:
            return _TEXT_EXPRESSION
    return f"e{i}(v)"


def before_lsn(source: bytes) -> bytes:
    """A transaction's part of its rows' records in front of the LSN; `source` as `envelope.source_part` makes it."""
    return source + b',"lsn":'


def after_lsn(op: bytes, transaction: bytes) -> bytes:
    """The same, between the LSN and the total order; `transaction` as `envelope.transaction_part` makes it."""
    return b'},"op":"%b",%b,"total_order":' % (op, transaction)


def _pieces(names: Sequence[str], rest: bytes = b"") -> list[bytes]:
    """What stands before each column's value in a JSON object, and after the last; `rest` are further members."""
    if not names:
        return [b"{" + rest.lstrip(b",") + b"}"]
    before = [b"%b%b:" % (b"," if i else b"{", encodings.to_json(name)) for i, name in enumerate(names)]
    return [*before, rest + b"}"]


def _template(pieces: Sequence[bytes]) -> bytes:
    return b"%b".join([piece.replace(b"%", b"%%") for piece in pieces])


def _tuple_code(types: Sequence[ColumnType], key_positions: Sequence[int]) -> str:
    lines = [
        "def tuple_(d, p, source, lsn, transaction, order, nth):",
        " if d[p:p+2] != COUNT: wrong(d, p)",
        " p += 2",
    ]
    for i, of in enumerate(types):
        # The length's upper bytes are read, not assumed: a damaged one must not shift what follows.
        long = (
            "" if of.name in _SHORT and of.element is None else " if d[p+1] == d[p+2] == d[p+3] == 0 else i4(d, p+1)[0]"
        )
        lines += [
            " k = d[p]",
            " if k == 116:",
            f"  q = p + 5 + (d[p+4]{long}); v = d[p+5:q]; p = q",
            f"  c{i} = {_expression(i, of)}",
            f" elif k == 110: p += 1; c{i} = NULL",
            f" elif k == 117: p += 1; c{i} = U{i}",
            " else: wrong(d, p)",
        ]
    # A value stands between pieces of its own number; those of the key are pieces of the key.
    values = "".join(f"P{i}, c{i}, " for i in range(len(types)))
    keys = "".join(f"K{n}, c{i}, " for n, i in enumerate(key_positions))
    lines += [
        " if p != len(d): wrong(d, p)",
        f" return join(({keys}K{len(key_positions)},)), join(({values}P{len(types)}, source, b'%d' % lsn, transaction,"
        " b'%d' % order, NTH, b'%d' % nth, END))",
    ]
    return "\n".join(lines)


def _wrong(data: bytes, at: int) -> None:
    raise PgoutputError(
        f"pgoutput message {data[25:26]!r} of {len(data) - 25} bytes does not fit its relation near offset {at - 25}",
        hint="The replication stream is damaged or of an unknown version; report it with the server's version",
    )


def _encoder(names: Sequence[str], positions: Sequence[int], types: Sequence[ColumnType], rest: bytes = b"") -> Any:
    """A function from a row to the JSON object of some of its columns."""
    template = _template(_pieces([names[i] for i in positions], rest))
    encoders = [(i, encodings.encoder(types[i]), encodings.unavailable(types[i])) for i in positions]

    def encode(row: Row) -> bytes:
        out = []
        for i, convert, missing in encoders:
            value = row[i]
            out.append(b"null" if value is None else missing if value is UNCHANGED else convert(value))
        return template % tuple(out)

    return encode


def compile_relation(
    relation: Relation,
    key: Sequence[str],
    types: Mapping[str, ColumnType],
    origin: Origin,
    numbers: Mapping[str, int] | None = None,
) -> RowEncoders:
    """The encoders of a relation; `key` names its primary key's columns, `types` has every column, `numbers` what is known."""
    names = [column.name for column in relation.columns]
    ordered = [types[name] for name in names]
    key_positions = tuple(i for i, name in enumerate(names) if name in key)
    to_json = encodings.to_json
    key_rest = b',"%b":%b' % (
        envelope.TABLE_KEY.encode(),
        to_json(f"{origin.name}.{relation.schema}.{relation.name}"),
    )
    source = b'"source":{"version":"1","connector":"postgresql","name":%b,"db":%b,"schema":%b,"table":%b,' % (
        to_json(origin.name),
        to_json(origin.database),
        to_json(relation.schema),
        to_json(relation.name),
    )
    change = (
        b'{"before":%b,"after":%b,'
        + source.replace(b"%", b"%%")
        + b'%b,"lsn":%d},"op":"%b",%b,"total_order":%d,"data_collection_order":%d}}'
    )
    pieces = _pieces(names)
    pieces[0] = b'{"before":null,"after":' + pieces[0]
    pieces[-1] += b"," + source
    environment: dict[str, Any] = {
        "COUNT": struct.pack(">H", len(names)),
        "NULL": b"null",
        "TRUE": b"true",
        "NTH": b',"data_collection_order":',
        "END": b"}}",
        "join": b"".join,
        **{f"P{i}": piece for i, piece in enumerate(pieces)},
        **{f"K{i}": piece for i, piece in enumerate(_pieces([names[i] for i in key_positions], key_rest))},
        "i4": struct.Struct(">I").unpack_from,
        "dumps": to_json,
        "integer": encodings.integer,
        "boolean": encodings.boolean,
        "wrong": _wrong,
        **{f"e{i}": encodings.encoder(of) for i, of in enumerate(ordered)},
        **{f"U{i}": encodings.unavailable(of) for i, of in enumerate(ordered)},
    }
    exec(_tuple_code(ordered, key_positions), environment)  # noqa: S102 (the code holds numbers and our own words only)
    positions = range(len(names))
    table_json = to_json(f"{relation.schema}.{relation.name}")
    return RowEncoders(
        relation=relation,
        table=f"{relation.schema}.{relation.name}",
        table_json=table_json,
        numbered=envelope.numbered(table_json, numbers) if numbers else b"",
        key_positions=key_positions,
        tuple_=environment["tuple_"],
        values=_encoder(names, positions, ordered),
        partial=_encoder(names, key_positions, ordered),
        key=_encoder(names, key_positions, ordered, key_rest),
        change=lambda before, after, op, lsn, source, transaction, order, nth: (
            change % (before, after, source, lsn, op, transaction, order, nth)
        ),
    )
