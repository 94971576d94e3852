"""Rows of replica values to entries of a native-protocol BATCH. Pure.

Promised: an entry's bytes are the CQL form of `projections.values`' table, exactly; a value without such a form is
refused by column and key before anything is sent, and so is a key that Cassandra would refuse or, worse, take in
another form. Not promised: that Cassandra takes the row (its size limits are settings of the server).

Speed is why this is generated code: one loop a table, with each column's conversion written out and the fixed-width
columns between two texts packed by one struct (about 1,000,000 rows/s at three integers and three texts, half of that with
two uuids; a struct cached per signature of lengths is 20 % faster and would grow with the data). Rows of which many differ
in their partition alone, as a post's copies do, are encoded by another loop, which makes the rest of each once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from projections.cassandra_table import CassandraTable
from projections.document_values import decode
from projections.values import Fields, Kind, ValueType
from projector.cassandra.errors import RefusedRow

Row = tuple[Any, ...]

KEY_BYTES = 65_535
"""The longest partition key, and the longest sum of clustering values, that Cassandra takes."""

_CELL_BYTES = 20  # beside its value, what the server's batch size counts for a cell and for a row's liveness
_POSTGRES_DAYS = (-2_440_588, 2_145_042_906)  # 4713 BC to 5874897 AD
_SAMPLE = 32  # rows that are compared to see whether many share all but their partition
_INFINITE_DAYS = (-(1 << 31), (1 << 31) - 1)  # the ends of CQL's date, which the read API prints as infinity
_DAY_MICROSECONDS = 86_400_000_000


class RowEncoder:
    """Encodes whole rows (values in the order of `table.columns`) and keys (in the order of `table.key`) of one table.

    row_overhead, key_overhead: what to add to an entry's length for an upper bound of the size that Cassandra's
    batch_size_warn_threshold and batch_size_fail_threshold compare.
    """

    def __init__(self, table: CassandraTable) -> None:
        self.table = table
        columns = tuple(table.columns.items())
        keys = len(table.key)
        self._rows = _compile(columns, table)
        self._width = len(table.partition_key)
        # 0.0 and -0.0 are equal and have different bytes.
        shares = self._width < len(columns) and all(kind.kind is not Kind.FLOAT for _, kind in columns)
        self._copies = _compile(columns, table, own=self._width) if shares else None
        self._keys = _compile(columns[:keys], table)
        self.row_overhead = max(0, _CELL_BYTES * (len(columns) - keys + 1) - 4 * len(columns))
        self.key_overhead = _CELL_BYTES

    def bind(self, statement_id: bytes, rows: Sequence[Row]) -> list[bytes]:
        """One entry a row, for the INSERT prepared as `statement_id`; raises ValueError if any can't be encoded."""
        encode = self._copies if self._copies is not None and self._are_copies(rows) else self._rows
        return _run(encode, statement_id, len(self.table.columns), rows)

    def bind_keys(self, statement_id: bytes, keys: Sequence[Row]) -> list[bytes]:
        """One entry a key, for the DELETE prepared as `statement_id`; raises ValueError if any can't be encoded."""
        return _run(self._keys, statement_id, len(self.table.key), keys)

    def _are_copies(self, rows: Sequence[Row]) -> bool:
        """Whether most rows have another's values in all columns but the partition key's, by a sample of them."""
        sample = rows[:: len(rows) // _SAMPLE] if len(rows) >= 2 * _SAMPLE else ()
        return 2 * len({row[self._width :] for row in sample}) < len(sample)

    def refusals(self, rows: Sequence[Row], *, keys_only: bool = False) -> list[tuple[int, RefusedRow]]:
        """The rows that can't be encoded, by index, each with the column and the reason."""
        encode, width = (self._keys, len(self.table.key)) if keys_only else (self._rows, len(self.table.columns))
        refused = []
        for index, row in enumerate(rows):
            try:
                _run(encode, b"", width, (row,))
            except ValueError as error:
                keyed = not keys_only and not self._refuses(self._keys, tuple(row[: len(self.table.key)]))
                refused.append((index, self.refused(row, self._reason(row, width, error), keyed=keyed)))
        return refused

    def refused(self, row: Row, reason: str, *, keyed: bool = True) -> RefusedRow:
        """A refusal of `row` (a whole row or a key)."""
        key = dict(zip(self.table.key, row, strict=False))
        place = f"{self.table.keyspace}.{self.table.stored or self.table.name}"
        return RefusedRow(table=place, name=self.table.name, key=key, row=tuple(row), reason=reason, keyed=keyed)

    def _refuses(self, encode: _Encode, key: Row) -> bool:
        try:
            _run(encode, b"", len(key), (key,))
        except ValueError:
            return True
        return False

    def _reason(self, row: Row, width: int, error: ValueError) -> str:
        if len(row) != width:
            return f"{len(row)} values for {width} columns"
        for (name, kind), value in zip(self.table.columns.items(), row, strict=False):
            try:
                _run(_compile(((name, kind),), None), b"", 1, ((value,),))
            except ValueError as cause:
                return f"column {name} ({kind.cql}): {cause}"
        return str(error)


def serializer(columns: Sequence[tuple[str, ValueType]]) -> Callable[[Row], list[bytes]]:
    """Serializes values of these columns one by one, as they stand in an entry; no check of a key.

    What it returns raises ValueError for a value without a form in CQL.
    """
    encode = _compile(columns, None)

    def serialize(row: Row) -> list[bytes]:
        (entry,) = _run(encode, b"", len(columns), (row,))
        values, at = [], _HEAD_BYTES
        for _ in columns:
            end = at + 4 + max(0, int.from_bytes(entry[at : at + 4], "big", signed=True))
            values.append(entry[at + 4 : end])
            at = end
        return values

    return serialize


_HEAD_BYTES = 5  # of an entry for a statement without an id
_Encode = Callable[[bytes, Sequence[Row]], list[bytes]]


def _run(encode: _Encode, statement_id: bytes, width: int, rows: Sequence[Row]) -> list[bytes]:
    head = b"\x01" + struct.pack(">H", len(statement_id)) + statement_id + struct.pack(">H", width)
    try:
        return encode(head, rows)
    except (struct.error, TypeError, AttributeError, OverflowError, InvalidOperation) as error:
        raise ValueError(str(error)) from error


# What a column contributes to the generated loop: an expression that makes the value to pack and its struct code, or
# for values of variable length an expression that makes bytes.
_FIXED: dict[Kind, tuple[str, str]] = {
    Kind.BOOLEAN: ("B", "_boolean({0})"),
    Kind.FLOAT: ("d", "float({0})"),
    Kind.DATE: ("I", "_date({0})"),
    Kind.TIME: ("q", "_time({0})"),
    Kind.TIMESTAMP: ("q", "{0}"),
    Kind.TIMESTAMPTZ: ("q", "{0}"),
    Kind.INTERVAL: ("q", "{0}"),
    Kind.UUID: ("16s", "_uuid({0})"),
}
_VARIABLE: dict[Kind, str] = {
    Kind.TEXT: "{0}.encode()",
    Kind.JSON: "{0}.encode()",
    Kind.ARRAY: "{0}.encode()",
    Kind.BYTES: "_bytes({0})",
    Kind.DOCUMENT: "d{0}({0})",
}
_WIDTH = {"B": 1, "h": 2, "i": 4, "I": 4, "q": 8, "d": 8, "16s": 16}


def _compile(columns: Sequence[tuple[str, ValueType]], table: CassandraTable | None, own: int = 0) -> _Encode:
    """The loop over rows for these columns; `table` adds the checks of its key.

    own: when it is above 0, what follows so many columns is encoded once for all rows of a call that are equal there.
    """
    scope: dict[str, Any] = {name: globals()[name] for name in _CONVERTERS}
    names = [f"c{index}" for index in range(len(columns))]
    body: list[str] = []
    pieces: list[str] = ["head"]
    codes, values = "", list[str]()
    required = set(table.key) if table else set()

    def pack() -> None:
        nonlocal codes, values
        if codes:
            packer = f"p{len(scope)}"
            scope[packer] = struct.Struct(">" + codes).pack
            pieces.append(f"{packer}({', '.join(values)})")
            codes, values = "", []

    checks = _key_checks(table) if table is not None else ([], [])
    lines: list[str] = []
    for at, (c, (name, kind)) in enumerate(zip(names, columns, strict=True)):
        if own and at == own:
            pack()
            lines += [*body, *checks[0], f"own = {' + '.join(pieces)}"]
            body, pieces = [], []
        code, expression = _conversion(kind)
        if kind.kind is Kind.DOCUMENT:
            scope[f"d{c}"] = _document(kind.fields)
        if name in required:
            body.append(f"if {c} is None: raise ValueError('a key column is null')")
        if code is None:
            made = expression.format(c)
            if name in required:
                body.append(f"{c} = {made}; n{c} = len({c})")
            else:
                body.append(f"if {c} is None: {c} = b''; n{c} = -1")
                body.append(f"else: {c} = {made}; n{c} = len({c})")
            codes += "i"
            values.append(f"n{c}")
            pack()
            pieces.append(c)
        elif name in required:
            codes += "i" + code
            values += [str(_WIDTH[code]), expression.format(c)]
        else:
            pack()
            packer = f"p{len(scope)}"
            scope[packer] = struct.Struct(">i" + code).pack
            pieces.append(f"(NULL if {c} is None else {packer}({_WIDTH[code]}, {expression.format(c)}))")
    pack()
    scope["NULL"] = b"\xff\xff\xff\xff"
    entry = " + ".join(pieces)
    if own:
        lines = ["for row in rows:", f"    {', '.join(names[:own])}, = row[:{own}]", *(f"    {line}" for line in lines)]
        lines += [f"    rest = row[{own}:]", "    tail = known(rest)", "    if tail is None:"]
        body = [f"{', '.join(names[own:])}, = rest", *body, *checks[1], f"tail = tails[rest] = {entry}"]
        lines += [*(f"        {line}" for line in body), "    append(own + tail)"]
    else:
        body += [*checks[0], *checks[1], f"append({entry})"]
        lines = [f"for {', '.join(names)}, in rows:", *(f"    {line}" for line in body)]
    lines = ["out, tails = [], {}", "append, known = out.append, tails.get", *lines, "return out"]
    source = "\n    ".join(["def encode(head, rows):", *lines])
    exec(source, scope)  # noqa: S102 (made of literals of this module and numbered names, never of data)
    encode: _Encode = scope["encode"]
    return encode


def _key_checks(table: CassandraTable) -> tuple[list[str], list[str]]:
    """Refuse the keys that Cassandra refuses, an empty partition key, and key parts longer than it can index.

    Lines about the partition key, and lines about the clustering columns.
    """
    checks: tuple[list[str], list[str]] = ([], [])
    variable = [f"nc{i}" for i, name in enumerate(table.key) if _conversion(table.columns[name])[0] is None]
    single = len(table.partition_key) == 1 and "nc0" in variable
    if single:
        checks[0].append("if nc0 == 0: raise ValueError('an empty value can not be the whole partition key')")
    for part, first, last in (
        ("partition key", 0, len(table.partition_key)),
        ("clustering key", len(table.partition_key), len(table.key)),
    ):
        lengths = [f"nc{i}" for i in range(first, last) if f"nc{i}" in variable]
        # A composite partition key spends three bytes on each part; fixed-width parts are at most 16 bytes each.
        spent = sum(16 for i in range(first, last) if f"nc{i}" not in variable)
        spent += 3 * (last - first) if first == 0 and not single else 0
        if lengths:
            total = " + ".join(lengths)
            lines = checks[first > 0]
            lines.append(f"if {total} > {KEY_BYTES - spent}: raise ValueError('{part} is over {KEY_BYTES} bytes')")
    return checks


def _conversion(kind: ValueType) -> tuple[str | None, str]:
    """Struct code (None: variable length) and the expression that makes the value."""
    if kind.kind is Kind.INTEGER:
        return {16: "h", 32: "i", 64: "q"}[kind.bits], "{0}"
    if kind.kind is Kind.NUMERIC:
        return None, "_opaque_decimal({0})" if kind.scale is None else f"_decimal({{0}}, {kind.scale})"
    if kind.kind in _FIXED:
        return _FIXED[kind.kind]
    return None, _VARIABLE[kind.kind]


def _document(fields: Fields) -> Callable[[str], bytes]:
    """Replica form to a list of a user-defined type: a count, then each element, all lengths as int32.

    An element is its fields' values, each behind its length, -1 for null: what the loop over rows makes of a row.
    """
    encode, int32 = _compile(fields, None), struct.Struct(">i").pack

    def value(text: str) -> bytes:
        rows = encode(b"", decode(text, fields))
        return b"".join((int32(len(rows)), *(int32(len(row)) + row for row in rows)))

    return value


def _boolean(value: int) -> int:
    if value not in (0, 1):
        raise ValueError(f"{value!r} is no boolean: expected 0 or 1")
    return int(value)


def _date(days: int) -> int:
    if not _POSTGRES_DAYS[0] <= days <= _POSTGRES_DAYS[1] and days not in _INFINITE_DAYS:
        raise ValueError(f"{days} days is no date of Postgres")
    return days + (1 << 31)


def _time(microseconds: int) -> int:
    if not 0 <= microseconds < _DAY_MICROSECONDS:
        raise ValueError(f"{microseconds} microseconds is no time of day: Cassandra's time ends before 24:00")
    return microseconds * 1000


def _uuid(text: str) -> bytes:
    value = bytes.fromhex(text.replace("-", ""))
    if len(value) != 16 or len(text) != 36:
        raise ValueError(f"{text!r} is no uuid")
    return value


def _bytes(value: bytes) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"expected bytes, not {type(value).__name__}")
    return value


def _decimal(unscaled: int, scale: int) -> bytes:
    """CQL decimal: the scale as int32, then the unscaled value in the fewest bytes of two's complement."""
    size = ((~unscaled if unscaled < 0 else unscaled).bit_length() >> 3) + 1
    return scale.to_bytes(4, "big", signed=True) + unscaled.to_bytes(size, "big", signed=True)


def _opaque_decimal(text: str) -> bytes:
    sign, digits, exponent = Decimal(text).as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{text} is no CQL decimal: it has neither NaN nor infinity")
    # int() of a text stops at 4,300 digits, Postgres numerics go to 147,455: int() of a Decimal has no such limit.
    return _decimal(int(Decimal((sign, digits, 0))), -exponent)


_CONVERTERS = ("_boolean", "_bytes", "_date", "_decimal", "_opaque_decimal", "_time", "_uuid")
