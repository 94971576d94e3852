"""Results as a reader wants them: without their columns' types each time, and uuids and decimals as the bytes that are sent.

The driver asks for a result's metadata with every EXECUTE and reads them anew, which takes as long as the rows of a page.
Here they come once, with the prepared statement, whose id of them each EXECUTE of `read_api.execution` carries: where they have
changed since, protocol 5 sends the new ones, and these count. Making UUID and Decimal objects took most of the rest; a reader renders the bytes.
Values within collections and documents are the driver's, as ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cassandra.cqltypes import BytesType, DecimalType, UUIDType
from cassandra.protocol import ProtocolHandler, ResultMessage

Column = tuple[str, str, str, Any]
"""Keyspace, table, name, and the driver's class of the type."""

_AS_BYTES = (UUIDType, DecimalType)


def raw_columns(columns: Iterable[Column]) -> list[Column]:
    """A result's metadata, with which uuids and decimals come as bytes."""
    return [(*column[:3], BytesType if column[3] in _AS_BYTES else column[3]) for column in columns]


class _Result(ProtocolHandler.message_types_by_opcode[ResultMessage.opcode]):  # type: ignore[misc]  # untyped, compiled or not
    column_metadata: list[Column] | None

    def recv_results_metadata(self, f: Any, user_type_map: Any) -> None:
        super().recv_results_metadata(f, user_type_map)
        if self.column_metadata:
            self.column_metadata = raw_columns(self.column_metadata)


class RawRows(ProtocolHandler):  # type: ignore[misc]  # untyped
    """The handler of a session's own requests, at protocol version 5."""

    message_types_by_opcode = ProtocolHandler.message_types_by_opcode | {ResultMessage.opcode: _Result}
