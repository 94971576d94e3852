"""CPU time of the server that listens on a local port, so that a rate can be laid beside what it costs on both sides.

A server on another machine, or of another user, has no figure here: `of` returns None and its figures are left out.
What a server does later (flushes, compaction) for rows written now falls into whatever is measured then.
"""

from __future__ import annotations

import os

import psutil

from command_api.process.settings import Cassandra


class ServerCpu:
    """One process's CPU clock."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process

    def seconds(self) -> float:
        """User and system time since its start, all threads."""
        times = self._process.cpu_times()
        return float(times.user + times.system)


def of(cassandra: Cassandra) -> ServerCpu | None:
    """The clock of the Cassandra that listens on this machine's loopback; None when there is none to be seen."""
    if not set(cassandra.contact_points) <= {"127.0.0.1", "localhost", "::1"}:
        return None
    try:
        listening = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return None
    for connection in listening:
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == cassandra.port and connection.pid:
            return ServerCpu(psutil.Process(connection.pid))
    return None


def ceiling(client_s: float, server_s: float) -> float:
    """Rows per second that all cores give at most, from CPU seconds per 100,000 rows of client and server."""
    return 100_000 * (os.cpu_count() or 1) / (client_s + server_s)
