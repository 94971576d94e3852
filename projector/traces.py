"""The spans of writes: what a traced command led to, from its commit to Cassandra's acknowledgement."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import cache

from command_api.lsn import Lsn
from command_api.process.tracing import MESSAGE, Tracing, parse
from projector.apply.transaction import Transaction


@cache
def _tracing() -> Tracing:
    return Tracing("projector")


def trace_writes(transactions: Iterable[Transaction], now: float) -> None:
    """A span a traced transaction that was acknowledged; now: seconds since 1970."""
    for transaction in transactions:
        for _, message in transaction.changes.messages:
            if message.prefix == MESSAGE and (parent := _traceparent(message.content)) is not None:
                _tracing().past(
                    "projection write",
                    parent,
                    {"lockstep.lsn": str(Lsn(transaction.lsn)), "lockstep.changes": transaction.changes.count},
                    began_us=transaction.committed_at,
                    ended_us=round(now * 1e6),
                )


def _traceparent(content: str | None) -> str | None:
    try:
        return parse(base64.b64decode(content or "", validate=True).decode("ascii"))
    except ValueError:  # binascii's and Unicode's are of this kind too
        return None
