"""``python at_debug_level.py MODULE ARGUMENT…``: a process of the project that logs everything, its libraries included."""

from __future__ import annotations

import runpy
import sys
from typing import TextIO

from command_api.process import logging as process_logging

_configure = process_logging.configure_logging


def _everything(level: str = "debug", stream: TextIO | None = None) -> None:
    _configure("debug", stream)


process_logging.configure_logging = _everything
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
