"""What one look proves, and that judging like this finds every drift and never a row that merely changed."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from projections.cassandra_table import write_timestamp
from projector.verify.judge import Finding, Look, is_foreign, judge, outlasts

A, B = ("a",), ("b",)
POINT, END = 100, 150


def at(lsn: int, epoch: int = 1) -> int:
    return write_timestamp(epoch, lsn)


@pytest.mark.parametrize(
    ("look", "finding"),
    [
        (Look(expected=A, found=A, written=at(120)), Finding.EQUAL),
        (Look(expected=None, found=None), Finding.EQUAL),
        (Look(expected=A, found=B, written=at(100)), Finding.WRONG),
        (Look(expected=None, found=B, written=at(90)), Finding.WRONG),
        (Look(expected=A, found=B, written=at(101)), Finding.OPEN),
        (Look(expected=A, found=None), Finding.OPEN),
        (Look(expected=A, found=B), Finding.OPEN),
        (Look(expected=A, found=B, written=at(151)), Finding.WRONG),  # nobody has committed there yet
        (Look(expected=A, found=B, written=at(120, epoch=2)), Finding.WRONG),
        (Look(expected=A, found=B, written=1_700_000_000_000_000), Finding.WRONG),  # a clock's
        (Look(expected=A, found=A, written=at(151)), Finding.EQUAL),
    ],
)
def test_findings(look: Look, finding: Finding) -> None:
    assert judge(look, point=POINT, end=END, epoch=1) is finding


def test_which_timestamps_no_repair_reaches() -> None:
    assert outlasts(at(151), end=END, epoch=1)
    assert outlasts(at(1, epoch=2), end=END, epoch=1)
    assert not outlasts(at(150), end=END, epoch=1)
    assert not outlasts(1_700_000_000_000_000, end=END, epoch=1)
    assert is_foreign(1_700_000_000_000_000, end=END, epoch=1)
    assert not is_foreign(at(150), end=END, epoch=1)


@dataclass
class Table:
    """A row as a worker keeps it: batches of commits end at positions, and the row is written with the batch's end."""

    row: tuple[str] | None = None
    written: int | None = None
    covered: int = 0


def test_no_history_of_commits_and_batches_gives_a_false_finding_and_old_damage_is_found() -> None:
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    findings = dict.fromkeys(Finding, 0)
    for _ in range(20_000):
        ends, values = [], []
        for lsn in range(10, 10 + rng.randrange(1, 9)):
            ends.append(lsn * 10)
            values.append(rng.choice((None, A, B, ("c",))))

        def value_at(lsn: int, ends: list[int] = ends, values: list[object] = values) -> object:
            return next((v for end, v in reversed(list(zip(ends, values, strict=True))) if end <= lsn), None)

        point = rng.choice(ends) + rng.choice((-1, 0, 1))  # a commit that begins at the point ends after it
        batches = sorted({*rng.sample(ends, rng.randrange(len(ends))), ends[-1]})
        table = Table()
        for end in batches:
            begin = table.covered
            changed = any(begin < each <= end for each in ends)
            if changed:
                row = value_at(end)
                table.row, table.written = (row, at(end) if row else None)  # type: ignore[assignment]
            table.covered = end
            if end >= point and rng.random() < 0.5:
                break
        if table.covered < point:
            continue
        expected = value_at(point)
        look = Look(expected=expected, found=table.row, written=table.written)  # type: ignore[arg-type]
        finding = judge(look, point=point, end=ends[-1], epoch=1)
        findings[finding] += 1
        assert finding is not Finding.WRONG, f"seed {seed}: {look} at {point}, batches {batches}"
        if table.row is not None and table.covered <= point:
            damaged = Look(expected=expected, found=("damage",), written=table.written)  # type: ignore[arg-type]
            assert judge(damaged, point=point, end=ends[-1], epoch=1) is Finding.WRONG, f"seed {seed}"
    assert min(findings[Finding.EQUAL], findings[Finding.OPEN]) > 500, findings
