"""SIGTERM and Ctrl-C for processes that work in a loop: finish what is in hand, within a deadline.

Past the deadline the process ends where it stands, as a crash would end it: everything here that works off a log repeats
what it had not finished, and repeating is harmless.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Final

from command_api.process.logging import get_logger

GIVEN_UP: Final = 1

_log = get_logger(__name__)


def stop_on_signals(stop: threading.Event, seconds: float) -> None:
    """Have SIGTERM and SIGINT set `stop`, and end the process `seconds` after the first of them; main thread only."""

    def told(_number: int, _frame: object) -> None:
        if not stop.is_set():
            stop.set()
            last = threading.Timer(seconds, _give_up, (seconds,))
            last.daemon = True
            last.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)


def _give_up(seconds: float) -> None:
    _log.error("not stopped in time: what was in hand is done again after the next start", seconds=seconds)
    sys.stderr.flush()
    os._exit(GIVEN_UP)
