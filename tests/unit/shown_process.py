"""A process that shows what it was given, then ends as told: with a status, a text, an error, or by a signal only."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import threading
import time


def _linger() -> None:
    time.sleep(0.2)  # longer than the main thread takes to come to its end
    print("the thread")


if __name__ == "__main__":
    shown = {
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
        "input": sys.stdin.read(),
        "ignored": [int(one) for one in signal.valid_signals() if signal.getsignal(one) == signal.SIG_IGN],
    }
    print(json.dumps(shown), flush=True)
    match sys.argv[1]:
        case "end":
            sys.exit(3)
        case "give up":
            atexit.register(print, "the exit hook")
            threading.Thread(target=_linger).start()
            sys.exit("the reason")
        case "fail":
            raise LookupError("nothing there")
    signal.pause()
