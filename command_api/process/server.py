"""Uvicorn as both APIs run it: bounded heads, no log of its own, and a wanted stop is no failure."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from command_api.process.http import bounded
from command_api.process.settings import Settings


def configured(application: Any, settings: Settings, **more: Any) -> uvicorn.Config:
    """The configuration of a server of this ASGI application; more: uvicorn's own."""
    return uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        server_header=False,
        http=bounded(settings.http),
        ws="none",
        timeout_keep_alive=settings.http.keep_alive_s,
        timeout_graceful_shutdown=settings.process.stop_s,
        **more,
    )


class StoppableServer(uvicorn.Server):
    """Ends with code 0 when told to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Uvicorn's own raises the signal again after a clean stop, which a supervisor would see as a kill.
        if threading.current_thread() is not threading.main_thread():
            yield  # signals belong to the main thread
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
