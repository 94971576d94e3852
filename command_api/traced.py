"""A command that came with a trace context: its span, and the message in its transaction that carries the context on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from command_api.commands.outcome import Outcome
from command_api.database import Connection
from command_api.execute import Work
from command_api.process.tracing import MESSAGE, Tracing, parse

_SAY = "SELECT pg_logical_emit_message(true, %s, %s)"


class Traced:
    """traceparent: of the request, None and a garbled one alike are no trace. name: of the span."""

    def __init__(self, tracing: Tracing, traceparent: str | None, name: str) -> None:
        self._tracing = tracing
        self._parent = parse(traceparent)
        self._name = name

    @contextmanager
    def around(self, work: Work) -> Iterator[Work]:
        """`work`, followed in its transaction by the message; the span lasts as long as the block."""
        if self._parent is None:
            yield work
            return
        with self._tracing.span(self._name, self._parent, {}) as traceparent:

            async def saying(connection: Connection) -> Outcome:
                outcome = await work(connection)
                await connection.execute(_SAY, (MESSAGE, traceparent))
                return outcome

            yield saying
