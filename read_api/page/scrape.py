"""The metrics of the other processes, asked for over HTTP in Prometheus's text format.

Promised: an endpoint that is away, slow or no metrics endpoint is a `Scrape` that says so in words, never an exception.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 0.8
_MOST_BYTES = 4 << 20

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """name: what the page calls the process. url: of its metrics; None when no address is set, `setting` says which."""

    name: str
    setting: str
    url: str | None

    @property
    def address(self) -> str | None:
        """Host and port, without what else the URL holds."""
        return None if self.url is None else urlsplit(self.url).netloc.rpartition("@")[2]


@dataclass(frozen=True, kw_only=True)
class Scrape:
    """values: by sample name and labels; empty when `problem` says why there are none.

    A gauge or counter by read model has no samples before its first event. What the process declares is 0 then; what it
    doesn't even declare is not measured.
    """

    endpoint: Endpoint
    declared: frozenset[str] = frozenset()
    values: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)
    problem: str | None = None

    def total(self, name: str) -> float | None:
        """The sum over all labels; None when the process does not export it."""
        found = self.values.get(name)
        return sum(found.values()) if found else self._nothing_yet(name)

    def of_model(self, name: str, model: str) -> float | None:
        """The sample of a read model; None when the process does not export it."""
        found = self.values.get(name, {}).get(frozenset({("read_model", model)}))
        return self._nothing_yet(name) if found is None else found

    def _nothing_yet(self, name: str) -> float | None:
        return 0.0 if name in self.declared else None


def declared(text: str) -> frozenset[str]:
    """The names of all families, with or without samples."""
    return frozenset(
        line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ") and line.count(" ") > 2
    )


def parsed(text: str, wanted: Iterable[str]) -> dict[str, dict[Labels, float]]:
    """The samples whose names begin with one of `wanted`; raises ValueError for a line that is none."""
    prefixes = tuple(wanted)
    lines = "".join(f"{line}\n" for line in text.splitlines() if line.startswith(prefixes))
    values: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(lines):
        for sample in family.samples:
            values.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return values


async def scrape(client: httpx.AsyncClient, endpoint: Endpoint, wanted: Iterable[str]) -> Scrape:
    """One endpoint, within TIMEOUT_S."""
    if endpoint.url is None:
        return Scrape(endpoint=endpoint, problem=f"no address is set: {endpoint.setting}")
    try:
        async with asyncio.timeout(TIMEOUT_S):
            response = await client.get(endpoint.url)
        if response.status_code != 200:
            return Scrape(endpoint=endpoint, problem=f"answers with HTTP status {response.status_code}")
        if len(response.content) > _MOST_BYTES:
            return Scrape(endpoint=endpoint, problem="answers with too much to be metrics")
        values = parsed(response.text, wanted)
    except (TimeoutError, httpx.TimeoutException):
        return Scrape(endpoint=endpoint, problem=f"does not answer within {TIMEOUT_S:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        return Scrape(endpoint=endpoint, problem="does not answer: nothing listens there, or not HTTP")
    except ValueError:
        return Scrape(endpoint=endpoint, problem="answers with something that is no metrics")
    if not values:
        return Scrape(endpoint=endpoint, problem="exports none of the metrics that are looked for: another process?")
    return Scrape(endpoint=endpoint, values=values, declared=declared(response.text))
