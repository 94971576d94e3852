"""A client of server-sent events that keeps the rows it was told of: what an application would show."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit


class Listener(threading.Thread):
    """Listens to ``<path>/changes`` until it is stopped. rows: by what was sent. last_id: to come back with.

    events: (seconds of time.monotonic(), kind, body) of each.
    """

    def __init__(self, url: str, path: str, key: Callable[[dict[str, Any]], Any], last: Listener | None = None) -> None:
        super().__init__(name="listener", daemon=True)
        self.rows: dict[Any, dict[str, Any]] = {} if last is None else dict(last.rows)
        self.last_id = None if last is None else last.last_id
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        self.error: BaseException | None = None
        self.opened = threading.Event()
        self._key = key
        parts = urlsplit(url)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        headers = {} if self.last_id is None else {"Last-Event-ID": self.last_id}
        self._connection.request("GET", f"{path}/changes", headers=headers)
        self._socket = self._connection.sock
        self.start()

    def stop(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.join(30)
        self._connection.close()
        assert self.error is None, repr(self.error)

    def run(self) -> None:
        try:
            reply = self._connection.getresponse()
            assert reply.status == 200, reply.read()
            assert (reply.getheader("content-type") or "").startswith("text/event-stream")
            self._listen(reply)
        except (OSError, HTTPException):
            pass  # hung up, by either side
        except BaseException as error:
            self.error = error

    def _listen(self, reply: HTTPResponse) -> None:
        kind = ident = ""
        for raw in reply:
            line = raw.decode().rstrip("\n")
            name, _, value = line.partition(": ")
            match name:
                case "event":
                    kind = value
                case "id":
                    ident = value
                case "data":
                    self._apply(kind, json.loads(value))
                    self.last_id = ident
            if line.startswith(("data", ":")):
                self.opened.set()

    def _apply(self, kind: str, body: dict[str, Any]) -> None:
        if kind == "snapshot":
            self.rows = {self._key(row): row for row in body["rows"]}
        else:
            for gone in body["deleted"]:
                del self.rows[self._key(gone)]
            self.rows |= {self._key(row): row for row in body["upserted"]}
        self.events.append((time.monotonic(), kind, body))
