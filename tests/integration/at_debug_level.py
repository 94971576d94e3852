"""``python -m tests.integration.at_debug_level MODULE ARGUMENT…``: a process of the project that logs everything, its libraries included."""

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
sys.modules.pop(f"{sys.argv[0]}.__main__", None)  # where it is imported already: it is run as if it were not
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
