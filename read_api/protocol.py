"""Results as a reader wants them: without their columns' types each time, and uuids and decimals as the bytes that are sent.

The driver asks for a result's metadata with every EXECUTE and reads them anew, which takes as long as the rows of a page.
Here they come once, with the prepared statement, whose id of them each EXECUTE carries: where they have changed since, protocol 5
sends the new ones, and these count. Making UUID and Decimal objects took most of the rest; a reader renders the bytes.
Values within collections and documents are the driver's, as ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cassandra.cqltypes import BytesType, DecimalType, UUIDType
from cassandra.protocol import ExecuteMessage, ProtocolHandler, ResultMessage

Column = tuple[str, str, str, Any]
"""Keyspace, table, name, and the driver's class of the type."""

_AS_BYTES = (UUIDType, DecimalType)
_HEAD = 9  # bytes of a frame before its body
_SKIP_METADATA = 0x02  # in the last byte of the flags


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

    @classmethod
    def encode_message(cls, msg: Any, *args: Any, **kwargs: Any) -> bytes:
        """The message, in an EXECUTE the wish for no metadata where the statement has them."""
        encoded: bytes = super().encode_message(msg, *args, **kwargs)
        if not isinstance(msg, ExecuteMessage) or not msg.skip_meta or msg.custom_payload:
            return encoded
        # Both ids have two bytes of length before them; the consistency level has two, the flags four.
        flags = _HEAD + 2 + len(msg.query_id) + 2 + len(msg.result_metadata_id) + 2 + 3
        return encoded[:flags] + bytes((encoded[flags] | _SKIP_METADATA,)) + encoded[flags + 1 :]
