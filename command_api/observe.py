"""What operators see of the HTTP server: a histogram per route and status, the pool's figures, and faults in the log.

The outermost layer, so that it counts what every other layer answers, and turns a fault of this program into a 500
that says nothing of its inside. Routes are labelled by their template, unknown paths as one: labels stay few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from command_api.problems import internal, response_of
from command_api.process.logging import get_logger

_log = get_logger(__name__)
_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Pool(Collector):
    def __init__(self, statistics: Callable[[], Mapping[str, int]]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        now = self._statistics()
        for name, help_text in (
            ("pool_size", "Connections to the database"),
            ("pool_available", "Connections that are idle"),
            ("requests_waiting", "Requests waiting for a connection"),
        ):
            family = GaugeMetricFamily(f"command_api_database_{name}", help_text)
            family.add_metric([], now.get(name, 0))
            yield family


class Metrics:
    """One registry per application, so that several may live in one process."""

    def __init__(self, pool_statistics: Callable[[], Mapping[str, int]]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_Pool(pool_statistics))
        self.requests = Histogram(
            "command_api_request_seconds",
            "Time from a request's start to its reply's end",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.repeated = Counter(
            "command_api_repeated_requests", "Requests answered with an earlier reply", registry=self.registry
        )


class Observe:
    """Measures, and catches what nothing else did."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0
        start = perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            _log.exception("request failed", method=scope["method"], path=scope["path"])
            if status:
                raise  # too late for another reply: let the server end the connection
            await response_of(internal())(scope, receive, watched)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", "unknown")
            seconds = perf_counter() - start
            self._metrics.requests.labels(method, route, str(status)).observe(seconds)
            _log.debug("request", method=method, path=scope["path"], status=status, ms=round(seconds * 1000, 2))
