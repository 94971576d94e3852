"""What the machine must have before anything is started; pure decisions over measured values."""

from __future__ import annotations

from pathlib import Path

import psutil

from deploy.local.errors import TooLittleDiskError, TooLittleMemoryError

MEBIBYTE = 1 << 20
MEMORY_NEEDED = 2_400 * MEBIBYTE  # Cassandra 1.2 GB, Kafka 0.5, PostgreSQL 0.2, four Python processes
DISK_NEEDED = 1_500 * MEBIBYTE  # empty servers take 0.3 GB: Kafka and Cassandra preallocate; the rest is room for logs


def check_memory(available: int) -> None:
    """Raise TooLittleMemoryError when fewer bytes than the stack needs can be had."""
    if available < MEMORY_NEEDED:
        raise TooLittleMemoryError(
            f"{available // MEBIBYTE} MiB of memory are available, the stack needs {MEMORY_NEEDED // MEBIBYTE} MiB",
            hint="close other programs, raise the container's memory limit, or use servers elsewhere (LOCKSTEP_… settings)",
        )


def check_disk(free: int, folder: Path, needed: int = DISK_NEEDED) -> None:
    """Raise TooLittleDiskError when `folder` has less room than needed, in bytes."""
    if free < needed:
        raise TooLittleDiskError(
            f"{free // MEBIBYTE} MiB are free in {folder}, {needed // MEBIBYTE} MiB are needed",
            hint="free some room there, or set LOCKSTEP_CACHE (downloads) or --folder (data) to another disk",
        )


def available_memory() -> int:
    """Bytes that can be had without swapping: the machine's, or what this control group may still take if less."""
    return min(psutil.virtual_memory().available, group_memory_left(Path("/sys/fs/cgroup")))


def group_memory_left(group: Path) -> int:
    """Bytes that a control group (version 2) may still take; a number beyond any machine when it has no limit."""
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 1 << 62
    if limit == "max":
        return 1 << 62
    return int(limit) - used + int(statistics.get("inactive_file", 0))  # the page cache gives way


def check_machine(folders: tuple[Path, ...]) -> None:
    """Measure and check; raises MachineError' children."""
    check_memory(available_memory())
    for folder in folders:
        check_disk(psutil.disk_usage(str(folder)).free, folder)
