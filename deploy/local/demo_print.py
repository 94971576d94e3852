"""What the demonstration prints: progress bars on a terminal, plain lines elsewhere, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import quantiles

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.local.demo_equal import Comparison
from deploy.local.demo_reads import Timing

_EVERY_S = 5.0  # between two plain lines of progress


@dataclass(frozen=True, kw_only=True)
class Line:
    """A read model in the last table; readable: seconds from the reply of each watched command."""

    name: str
    comparison: Comparison
    readable: list[float]
    timing: Timing


def percentile(seconds: list[float], percent: int) -> float:
    """In milliseconds; of at least one value."""
    if len(seconds) == 1:
        return seconds[0] * 1e3
    return quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1e3


class Printer:
    """Prints to one console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """One line, with the seconds since the start."""
        self.console.print(f"{time.monotonic() - self._began:6.1f} s  {text}", markup=False, soft_wrap=True)

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar (or a line every few seconds) that the yielded function moves on."""
        if self.console.is_terminal:
            columns = (
                TextColumn("          {task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            with Progress(*columns, console=self.console, transient=True) as progress:
                task = progress.add_task(what, total=total)
                yield lambda count: progress.advance(task, count)
            return
        done, said = 0, time.monotonic()

        def advance(count: int) -> None:
            nonlocal done, said
            done += count
            if time.monotonic() - said >= _EVERY_S:
                said = time.monotonic()
                self.say(f"{what}: {done:,} of {total:,}")

        yield advance

    def result(self, lines: list[Line]) -> None:
        """The last table."""
        table = Table(title="Read models beside their SQL (times in milliseconds)")
        table.add_column("read model", no_wrap=True)
        for header in (
            "rows",
            "equal to SQL",
            "commit→readable p50",
            "p99",
            "read p50 in Cassandra",
            "same SELECT in Postgres",
        ):
            table.add_column(header, justify="right")
        for line in lines:
            style = "" if line.comparison.equal else "red"
            table.add_row(
                line.name,
                f"{line.comparison.rows:,}",
                "yes" if line.comparison.equal else "NO",
                *((f"{percentile(line.readable, percent):.1f}" if line.readable else "-") for percent in (50, 99)),
                f"{line.timing.cassandra * 1e3:.2f}",
                f"{line.timing.postgres * 1e3:.2f}",
                style=style,
            )
        self.console.print(table)
