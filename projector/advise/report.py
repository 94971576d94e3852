"""The report as lines of text: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from projector.advise.amplified import MOST
from projector.advise.capacity import Need, Rates, Scale
from projector.advise.feed import Costs, Feed, Threshold, advise, percentile, thresholds
from projector.advise.measure import Measured


def scale_lines(scale: Scale, found: Need, rates: Rates) -> Iterator[str]:
    """What a scale needs."""
    yield (
        f"{scale.posts_per_s:,g} posts/s * {scale.followers:,g} followers * {scale.replicas} replicas"
        f" = {found.writes_per_s:,.0f} writes/s"
    )
    yield f"  rows written by workers: {found.rows_per_s:,.0f} a second"
    yield f"  workers: {found.workers:,} at {rates.worker_rows_per_s:,.0f} rows/s each"
    yield f"  Cassandra nodes: {found.nodes:,} at {rates.node_writes_per_s:,.0f} writes/s each"
    if found.bytes_a_day is not None:
        yield f"  payload a day, on all replicas, before compression: {_bytes(found.bytes_a_day)}"
    yield f"  planned with {rates.load:.0%} of these rates ({rates.origin})"


def model_lines(measured: Measured, rates: Rates, replicas: int, also: Sequence[int], bound_s: float) -> Iterator[str]:
    """One read model: storage, write amplification, and for a feed the choice."""
    yield f"read model {measured.model.name}"
    if measured.stored is None:
        yield "  storage: not measured in time"
    else:
        rows, size = measured.stored.rows, measured.stored.row_bytes
        yield (
            f"  storage: {rows:,} rows of {size:,.0f} bytes: {_bytes(rows * size)}, on {replicas} replicas"
            f" {_bytes(rows * size * replicas)} before compression"
        )
    yield from _amplification(measured)
    if measured.feed is not None:
        yield from _feed(measured.feed, measured.days or 0.0, rates, also, bound_s)
    elif measured.model.fan_out is not None:
        yield f"  feed: {measured.untold or 'not measured in time'}"


def _amplification(measured: Measured) -> Iterator[str]:
    if not measured.amplified:
        yield "  a scheduled read model: a run writes the difference from the last one"
        return
    head = ("a change of", "through", "rows", "reaches p50", "p99", "most", "changes/s", "writes/s")
    rows = [
        (name, "not measured in time", *("" for _ in range(6)))
        if a is None
        else (
            name,
            a.via,
            f"{a.rows:,}",
            f"{a.p50:,}",
            f"{a.p99:,}" + (" !" if a.fans_out else ""),
            f"{a.largest:,}",
            _rate(a.changes_per_s),
            _rate(a.writes_per_s),
        )
        for name, a in measured.amplified
    ]
    yield from _table(head, rows)
    if any(a is not None and a.fans_out for _, a in measured.amplified):
        yield f"  ! from {MOST:,} rows on, expect slices (projector.slice_keys), or a budget where one column changes"


def _feed(feed: Feed, days: float, rates: Rates, also: Sequence[int], bound_s: float) -> Iterator[str]:
    shares = ", ".join(f"{name} {percentile(feed.authors, share):,}" for name, share in _SHARES)
    yield f"  followers of an author: {shares}; {feed.readers:,} readers follow {feed.following:,.1f} each"
    posts = sum(a.posts_per_s for a in feed.authors)
    active, edges = sum(a.active for a in feed.authors), sum(a.followers * a.number for a in feed.authors)
    yield f"  posts: {posts:,.3g} a second over {days:,.1f} days; {_share(active, edges)} of followers get copies"
    pulls = feed.pulls_per_s
    yield (
        f"  break-even: followers * post rate = {feed.copies_per_s:,.3g} copies a second, following * page rate ="
        f" {'unknown (--reads-per-s or --metrics)' if pulls is None else f'{pulls:,.3g} pulls a second'}"
    )
    costs = Costs(copies_per_s=rates.worker_rows_per_s * rates.load, pull_s=rates.pull_s)
    table = thresholds(feed, costs, also)
    head = ("threshold", "hot authors", "copies/s", "copies", "pulls/s", "hot a page", "longest copy", "cores busy")
    yield from _table(head, [_threshold(row) for row in table])
    found = advise(feed, costs, table, bound_s)
    at = "" if found.threshold.at is None else f" at {found.threshold.at:,} followers"
    yield f"  advice: {found.kind}{at}: {found.why}"


_SHARES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("most", 1.0))


def _threshold(row: Threshold) -> tuple[str, ...]:
    return (
        "none: push all" if row.at is None else "1: pull all" if row.at == 1 else f"{row.at:,}",
        f"{row.hot:,}",
        _rate(row.copies_per_s),
        f"{row.copies:,}",
        _rate(row.pulls_per_s),
        f"{row.hot_per_page:,.2f}",
        f"{row.longest_s:,.3g} s",
        _rate(row.busy),
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        first, *others = (
            cell.ljust(width) if number < 1 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  " + "  ".join((first, *others)).rstrip()


def _rate(value: float | None) -> str:
    return "?" if value is None else f"{value:,.3g}" if value < 1_000 else f"{value:,.0f}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "none"


def _bytes(value: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1_000:
            return f"{value:,.1f} {unit}"
        value /= 1_000
    return f"{value:,.1f} PB"
