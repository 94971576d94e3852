"""How every process logs: one event a line on stderr, for people on a terminal and as JSON otherwise.

`configure_logging` is called once by an entry point; a library module only calls `get_logger`. Records of other
libraries (uvicorn, alembic, the drivers) take the same way out. Secrets are masked last, when everything that will be
printed is text: the value of a key that names one, and passwords inside a conninfo, a URL or a traceback.
Not promised: recognition of a secret that stands alone in a sentence with nothing that names it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "***"

_SECRET_KEY = re.compile(
    r"passw|secret|sasl|token_key|private_key|credential|authorization|bearer|jwt|hs256", re.IGNORECASE
)
# A libpq keyword (quoted or not), a librdkafka or JAAS property, and the password part of a URL.
_IN_TEXT = (
    (
        re.compile(
            r"(?i)((?:sslpassword|password|passwd|secret)[\"']?\s*[=:]\s*)"
            r"('(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^\s,;&)}\]'\"]+)"
        ),
        rf"\g<1>{MASK}",
    ),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/@]+@"), rf"\g<1>{MASK}@"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), MASK),  # a signed token, wherever it stands
)


def mask_text(text: str) -> str:
    """`text` with the passwords of conninfos, URLs and properties replaced by asterisks."""
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {key: MASK if _SECRET_KEY.search(str(key)) else _masked(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_masked(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return mask_text(str(value))


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: masks values by their key at any depth, and passwords within texts."""
    return cast(EventDict, _masked(event))


def configure_logging(level: str = "info", stream: TextIO | None = None) -> None:
    """Send this process's logs to `stream` (stderr), from `level` up; calling again replaces the configuration.

    Raises ValueError for an unknown level.
    """
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise ValueError(f"unknown log level {level!r}: expected debug, info, warning or error")
    out = sys.stderr if stream is None else stream
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    terminal = out.isatty()
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=True) if terminal else structlog.processors.JSONRenderer(default=str)
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, mask_secrets, renderer],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(threshold)
    # These announce each of their own plug-ins at import, and each request, of which metrics say more.
    for name in ("alembic.runtime.plugins", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING if threshold > logging.DEBUG else logging.NOTSET)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module (`__name__`); usable before `configure_logging`, which then decides how it prints."""
    return structlog.stdlib.get_logger(name)
