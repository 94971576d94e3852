"""Plain values as YAML: mappings, sequences, texts and numbers, and nothing else of that language. Pure.

A text is written as JSON writes it, which YAML reads as the same text, so that no colon or number in it is taken for more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[:-][A-Za-z0-9_]+)*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def as_yaml(value: Mapping[str, Any], *, comment: str = "") -> str:
    """The document, with `comment` above it."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    return head + "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, Mapping | Sequence) and not isinstance(inner, str):
                yield f"{name}:"
                yield from (f"  {line}" for line in _lines(inner))
            else:
                yield f"{name}: {_scalar(inner)}"
        return
    for inner in value:
        lines = list(_lines(inner)) if isinstance(inner, Mapping) else [_scalar(inner)]
        yield f"- {lines[0]}"
        yield from (f"  {line}" for line in lines[1:])


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
