"""Where a process that logs no address serves its metrics."""

from __future__ import annotations

import psutil

from tests.e2e.pipeline import Process, wait_for


def metrics_address(process: Process) -> str:
    """``127.0.0.1:port``, of the one port that it listens at; waits for it."""

    def found() -> str | None:
        assert process.status is None, process.tail()
        ports = (one.laddr.port for one in psutil.Process(process.pid).net_connections("tcp") if one.status == "LISTEN")
        return next((f"127.0.0.1:{port}" for port in ports), None)

    address: str = wait_for(f"{process.name} serves metrics", found, 60, process.tail)
    return address
