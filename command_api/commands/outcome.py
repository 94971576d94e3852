"""What a command has done, before anything of HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A command that was carried out.

    body: what the reply says, never empty; values that msgspec prints (uuid, Decimal, datetime, …).
    version: of the aggregate after the command; None when it has none or is gone.
    created: path of what was made, None when nothing was.
    """

    body: Mapping[str, Any]
    version: int | None = None
    created: str | None = None
