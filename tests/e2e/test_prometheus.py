"""A real Prometheus over the running path: the shipped files are sound, and a paused worker is seen, told and forgiven."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from deploy.grafana.dashboard import dashboard
from projections import READ_MODELS
from projector.alerts import Limits, rules_file
from tests.e2e.pipeline import Pipeline, listening, wait_for
from tests.e2e.serving import metrics_address
from tests.metric_names import named

pytestmark = pytest.mark.alone

DEPLOY = Path(__file__).parents[2] / "deploy/prometheus"
STALENESS = timedelta(seconds=2)
EXPECTED = (
    "read_api_model_lag_seconds",
    "projection_lag_seconds",
    "relay_slot_retained_bytes",
    "command_api_request_seconds_count",
)
QUICK = {model.name for model in READ_MODELS if model.staleness is not None and not model.budgets}
"""Read models that the test has declare STALENESS: a column's budget would be a part of it."""


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"there is no {name} on this machine: apt-get install prometheus (Debian, Ubuntu)")
    return found


def promtool(*arguments: str) -> str:
    """What promtool says; fails unless it is content."""
    ended = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "config", str(DEPLOY / "prometheus.yml"))
    assert "SUCCESS" in promtool("check", "rules", str(DEPLOY / "alerts.yml"))


def test_each_alert_fires_on_what_it_is_for() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(DEPLOY / "alerts_test.yml"))


class Prometheus:
    """Questions to a running one."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        reply = self._client.get("/api/v1/query", params={"query": expression})
        assert reply.status_code == 200, f"{expression}: {reply.text}"
        found: list[dict[str, Any]] = reply.json()["data"]["result"]
        return found

    def value(self, expression: str) -> float | None:
        """The one value; None when there is none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def firing(self, name: str) -> set[str]:
        """The read models, or instances, of an alert that fires."""
        alerts = self._client.get("/api/v1/alerts").json()["data"]["alerts"]
        return {
            alert["labels"].get("read_model", alert["labels"].get("instance", ""))
            for alert in alerts
            if alert["labels"]["alertname"] == name and alert["state"] == "firing"
        }


@contextmanager
def prometheus(folder: Path, addresses: dict[str, str]) -> Iterator[Prometheus]:
    """One that runs the shipped configuration, faster, over `addresses` (job to host:port), with rules of short bounds."""
    text = (DEPLOY / "prometheus.yml").read_text()
    for job, address in addresses.items():
        before, found, after = text.partition(
            f"job_name: {job}\n" if f"job_name: {job}\n" in text else f"job_name: {job} "
        )
        assert found, f"the shipped configuration has no job {job}"
        line, bracket, rest = after.partition('[{targets: ["')
        text = before + found + line + bracket + address + rest[rest.index('"') :]
    assert text.count("15s") == 2
    (folder / "prometheus.yml").write_text(text.replace("15s", "1s"))
    quick = [replace(model, staleness=STALENESS) if model.name in QUICK else model for model in READ_MODELS]
    (folder / "alerts.yml").write_text(rules_file(quick, Limits(hold="2s", window="6s")))
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--web.listen-address=127.0.0.1:0",
                "--log.format=json",
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        port = wait_for("Prometheus listens", lambda: _port(process), 30, log.read_text)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:
            yield Prometheus(client)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _port(process: subprocess.Popen[bytes]) -> int | None:
    """The port that a process listens at: its log says only what it was told, which is 0."""
    import psutil

    assert process.poll() is None, "Prometheus ended"
    return next(
        (one.laddr.port for one in psutil.Process(process.pid).net_connections("tcp") if one.status == "LISTEN"), None
    )


def test_a_paused_worker_is_seen_told_and_forgiven(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.set_up()
    with pipeline.running("relay", "projector", "refresher", "command-api", "read-api") as processes:
        relay, worker, refresher, commands, reads = processes
        addresses = {
            "lockstep-relay": metrics_address(relay),
            "lockstep-projector": metrics_address(worker),
            "lockstep-refresher": metrics_address(refresher),
            "lockstep-command-api": listening(commands).removeprefix("http://"),
            "lockstep-read-api": listening(reads).removeprefix("http://"),
        }
        with (
            psycopg.connect(pipeline.settings.postgres.admin.get_secret_value(), autocommit=True) as source,
            prometheus(tmp_path, addresses) as seen,
        ):
            source.execute("insert into users (user_id, name) values (gen_random_uuid(), 'Ann')")
            wait_for("every process is scraped", lambda: seen.value("count(up == 1)") == len(addresses), 60)
            wait_for(
                "every read model's lag is known and small",
                lambda: (
                    {one["metric"]["read_model"] for one in seen.query("lockstep:lag_seconds < 3")} >= QUICK
                    and not seen.firing("ReadModelStale")
                ),
                60,
                lambda: str(seen.query("lockstep:lag_seconds")) + worker.tail(),
            )
            wait_for("every panel answers", lambda: not _unanswered(seen), 30, lambda: str(_unanswered(seen)))

            calm = seen.value("max(lockstep:lag_seconds)")
            assert calm is not None
            worker.send(signal.SIGSTOP)
            try:
                wait_for("lag rises", lambda: (seen.value("max(lockstep:lag_seconds)") or 0) > calm + 2, 30)
                wait_for("all read models are told", lambda: seen.firing("ReadModelStale") >= QUICK, 30)
                wait_for("the silent worker is told", lambda: len(seen.firing("ProcessAway")) == 1, 60)
            finally:
                worker.send(signal.SIGCONT)
            wait_for(
                "the alerts clear",
                lambda: not seen.firing("ReadModelStale") | seen.firing("ProcessAway"),
                120,
                lambda: f"{seen.firing('ReadModelStale')} {seen.query('lockstep:lag_seconds > 1')} {worker.tail()}",
            )
            wait_for("lag is small again", lambda: (seen.value("max(lockstep:lag_seconds)") or 9) < 3, 30)


def _unanswered(seen: Prometheus) -> list[str]:
    """Metrics and panels without a sample, of those that an idle path has; Prometheus takes each expression anyway."""
    exported = {one["metric"]["__name__"] for one in seen.query('{__name__!="", job=~"lockstep-.+"}')}
    missing = [name for name in EXPECTED if name not in exported]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "6s").replace("$model", ".*")
            found = seen.query(expression)
            if not found and "[" not in expression and named(expression) and named(expression) <= exported:
                missing.append(f"{panel['title']}: {expression}")
    return missing
