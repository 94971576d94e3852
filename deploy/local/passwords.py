"""Random passwords of the local database's roles, made once and kept in ``.local/passwords.json`` with mode 0600."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner only."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    unfinished.replace(path)


def kept(path: Path, names: tuple[str, ...]) -> dict[str, str]:
    """The password of each name, made if it is missing."""
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    made = {name: known.get(name) or secrets.token_urlsafe(24) for name in names}
    if made != known:
        write_private(path, json.dumps(made, indent=1))
    return made
