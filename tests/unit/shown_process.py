"""A process that shows what it was given, then ends as told: with a status, with an error, or by a signal only."""

from __future__ import annotations

import json
import os
import signal
import sys

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
        case "fail":
            raise LookupError("nothing there")
    signal.pause()
