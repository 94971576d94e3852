"""What `projector status` prints: how far each read model is covered, and what its worker still works off."""

from __future__ import annotations

import math
import urllib.request
from collections.abc import Iterator, Sequence

from prometheus_client.parser import text_string_to_metric_families

from command_api.lsn import Lsn
from command_api.process.settings import Settings
from projections.added_columns import own_positions
from projector.cassandra.progress import read_positions
from projector.cassandra.session import close, connect
from projector.configured import load_read_models
from projector.generations.tables import written_now

_TIMEOUT_S = 2.0
_CHANGES, _KEYS, _SECONDS = (f"projection_put_aside_{what}" for what in ("changes", "keys", "seconds"))
_HOT, _FLIPS = "projection_feed_hot_authors", "projection_feed_flips_under_way"
_PENDING = "projection_budget_pending_keys"
_FILL = "projection_backfill_rows_left"


def status_lines(settings: Settings) -> Iterator[str]:
    """A line a read model: its name, the position that it covers, what is put aside; of a feed, who is hot.

    Of its generations the one that a worker with this declaration writes. Raises CassandraError, GenerationError.
    """
    models = load_read_models(settings.projector.read_models)
    session = connect(settings.cassandra)
    try:
        positions = read_positions(session, settings.cassandra.keyspace, settings.projector.projection, 0)
        tables = written_now(session, settings, models)
    finally:
        close(session)
    exported = _exported(settings)
    aside, hot, left = put_aside(exported), hot_authors(exported), fills(exported)
    for model in models:
        position = positions.get(tables[model.name])
        covered = str(Lsn(position.lsn)) if position else "not covered yet"
        own = own_positions(positions, tables[model.name], model.columns)
        filled = told_fill([column for column, of in own.items() if not of.lsn], left.get(model.name))
        yield "\t".join(filter(None, (model.name, covered, filled, aside.get(model.name), hot.get(model.name))))


def told_fill(columns: Sequence[str], left: float | None) -> str:
    """What is said of columns without values in all rows. left: source rows that a worker has still to go through."""
    if not columns:
        return ""
    names = ", ".join(columns)
    return f"{names} to be filled" if left is None else f"{names} being filled, {left:,.0f} source rows left"


def fills(text: str) -> dict[str, float]:
    """By read model, what a worker's metrics say that a fill has left; without those that have none."""
    return {
        sample.labels["read_model"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == _FILL and sample.value
    }


def put_aside(text: str) -> dict[str, str]:
    """By read model, what a worker's metrics say of changes that are worked off or wait; without those that have none."""
    samples = {
        (sample.name, sample.labels["read_model"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in (_CHANGES, _KEYS, _SECONDS, _PENDING)
    }
    found = {}
    for (name, model), value in samples.items():
        if name == _CHANGES and value:
            keys, seconds = samples.get((_KEYS, model), math.nan), samples.get((_SECONDS, model), math.nan)
            left = "" if math.isnan(seconds) else f", about {seconds:,.0f} s"
            changes = "1 change" if value == 1 else f"{value:,.0f} changes"
            found[model] = f"{changes} put aside, {keys:,.0f} keys left{left}"
    for (name, model), value in samples.items():
        if name == _PENDING and value:
            pending = f"{value:,.0f} keys pending within a column's budget"
            found[model] = "; ".join(filter(None, (found.get(model), pending)))
    return found


def hot_authors(text: str) -> dict[str, str]:
    """By feed, how many authors a worker's metrics say are merged at read time, and whose copies are being worked off."""
    samples = {
        (sample.name, sample.labels["read_model"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in (_HOT, _FLIPS)
    }
    found = {}
    for (name, model), value in samples.items():
        if name == _HOT:
            told = "1 hot author" if value == 1 else f"{value:,.0f} hot authors"
            flips = samples.get((_FLIPS, model), 0)
            found[model] = f"{told}, of {flips:,.0f} authors the copies are under way" if flips else told
    return found


def _exported(settings: Settings) -> str:
    """A worker's metrics; empty when none answers at the configured address, as from another machine."""
    address = f"http://{settings.projector.metrics_host}:{settings.projector.metrics_port}/metrics"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as reply:
            text: str = reply.read().decode()
    except OSError:
        return ""
    return text
