"""The page in a real browser, over the running path: what it shows, that it lives, and what it says when something is away."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from command_api.process.settings import Settings
from projections import READ_MODELS
from tests.e2e.browser import MISSING, Browser, browsing
from tests.e2e.pipeline import Pipeline, Process, listening
from tests.e2e.serving import metrics_address

FIGURE = re.compile(r"^[\d.\u2009]+ (ms|s)$")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with browsing(tmp_path) as made:
        yield made


def covered(browser: Browser, model: str) -> str:
    return browser.text(f"#model-{model} .lsn")


def ask(browser: Browser, *key: str) -> None:
    """Give the key of the chosen read model, by keyboard alone."""
    for field, part in zip(browser.all("#ask-key input"), key, strict=True):
        field.clear()
        field.send_keys(part)
    browser.all("#ask-key input")[-1].send_keys(Keys.ENTER)


def test_the_page_shows_the_path(pipeline: Pipeline, browser: Browser) -> None:
    pipeline.set_up()
    with pipeline.running("relay") as (relay,):
        worker = pipeline.start("projector")
        reads = pipeline.start("read-api", settings=_with_addresses(pipeline, worker, relay))
        url = listening(reads)
        admin = pipeline.settings.postgres.admin.get_secret_value()
        with psycopg.connect(admin, autocommit=True) as source:
            user = _order(source)
            browser.open(f"{url}/#no/such%path")  # what is no key is no reason to show nothing
            _content(browser)
            _lives(browser, source)
            _side_by_side(browser, source, user)
            _looks(browser)
            _what_is_away(browser, worker, reads, relay)


def _with_addresses(pipeline: Pipeline, worker: Process, relay: Process) -> Settings:
    addresses = {
        "worker_metrics": (f"http://{metrics_address(worker)}/metrics",),
        "relay_metrics": f"http://{metrics_address(relay)}/metrics",
        "fallback_connections": 2,
    }
    return pipeline.with_settings(read_api=addresses)


def _order(source: psycopg.Connection[tuple[object, ...]]) -> str:
    user, order = uuid4(), uuid4()
    source.execute("insert into users (user_id, name) values (%s, 'Ann <b>Bold</b>')", (user,))
    source.execute(
        "insert into orders (order_id, user_id, status, region, created_at) values (%s, %s, 'placed', 'eu', now())",
        (order, user),
    )
    return str(user)


def _content(browser: Browser) -> None:
    names = [model.name for model in READ_MODELS]
    browser.wait("every read model", lambda: browser.texts("#model-rows .pick") == names)
    browser.wait("every lag", lambda: all(FIGURE.match(browser.text(f"#model-{name} .lag")) for name in names), 60)
    browser.wait("all are fresh", lambda: browser.text("#summary") == f"{len(names)} read models, all fresh", 60)
    browser.wait("rates are known", lambda: browser.text("#tile-changes_per_s .value") not in ("", MISSING))
    assert re.fullmatch(r"[\d.]+ (B|kB|MB)", browser.text("#tile-retained_bytes .value"))
    assert browser.text("#tile-put_aside_changes .value") == "0"
    assert browser.text("#notices") == "", "nothing is away"
    if browser.text("#tile-dead_letters .note") == "not measured":
        assert browser.text("#tile-dead_letters .value") == MISSING, "what nobody measures is no zero"


def _lives(browser: Browser, source: psycopg.Connection[tuple[object, ...]]) -> None:
    before, drawn = covered(browser, "orders_by_user"), _points(browser)
    _order(source)
    browser.wait("the covered position moves", lambda: covered(browser, "orders_by_user") > before)
    browser.wait("the line grows", lambda: _points(browser) > drawn)
    browser.wait("changes are counted", lambda: browser.text("#tile-changes_per_s .value") not in ("0", MISSING))
    focus = browser.find("#model-order_by_id .pick")
    browser.run("arguments[0].focus()", focus)
    drawn = _points(browser)
    browser.wait("the line grows", lambda: _points(browser) > drawn)
    assert browser.driver.switch_to.active_element == focus, "an update takes the focus away"


def _points(browser: Browser) -> int:
    return str(browser.find("#model-orders_by_user .line").get_attribute("d")).count("L")


def _side_by_side(browser: Browser, source: psycopg.Connection[tuple[object, ...]], user: str) -> None:
    browser.find("#model-orders_by_user .pick").send_keys(Keys.ENTER)
    assert Select(browser.find("#ask-model")).first_selected_option.text == "orders_by_user"
    assert browser.driver.switch_to.active_element.get_attribute("name") == "user_id"
    browser.wait("keys that are there", lambda: user in browser.texts(".example"))
    ask(browser, user)
    browser.wait("both answers", lambda: browser.text(".verdict").startswith("Equal: 1 row."))
    for side in ("cassandra", "postgres"):
        assert re.fullmatch(r"[\d.\u2009]+ ms", browser.text(f"#side-{side} .time"))
        cells = browser.texts(f"#side-{side} .rows td")
        assert {"placed", "eu", "Ann <b>Bold</b>"} <= set(cells), "a value is text, whatever it holds"
    assert "FROM orders" in browser.text("#side-postgres .statement pre")
    assert user.replace("-", "") in browser.text("#side-postgres .statement pre").replace("-", "")
    assert re.match(r"Plan: [\d.]+ ms to plan, [\d.]+ ms to run", browser.text(".plan summary"))
    assert "orders" in browser.text(".plan .tree")
    assert user in browser.driver.current_url.partition("#")[2], "the question can be sent to somebody"

    ask(browser, str(uuid4()))
    browser.wait("no row", lambda: browser.text(".verdict").startswith("Both say that there is no row for this key."))
    browser.expected.append("status of 422")
    ask(browser, "nobody")
    browser.wait("the problem as the API gives it", lambda: "expected a uuid" in browser.text("#result .problem"))
    # An exclusive lock of the table: Postgres does not answer in time, and the read model does.
    with source.transaction():
        source.execute("lock table orders in access exclusive mode")
        ask(browser, user)
        browser.wait(
            "Postgres's time-out", lambda: "did not answer within 2 s" in browser.text("#side-postgres .problem")
        )
    assert "placed" in browser.text("#side-cassandra .rows")
    ask(browser, user)
    browser.wait("both answers again", lambda: browser.text(".verdict").startswith("Equal: 1 row."))


CONTRAST = """
const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
const over = (top, under) => ({ r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a),
  b: top.b * top.a + under.b * (1 - top.a), a: 1 });
const channel = (value) => { const x = value / 255; return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; };
const luminance = ({ r, g, b }) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
function paper(node) {
  const layers = [];
  for (let at = node; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((under, top) => over(top, under), { r: 255, g: 255, b: 255, a: 1 });
}
const faint = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest("script, noscript, dialog")) continue;
  const ground = paper(node);
  const [a, b] = [luminance(over(parse(getComputedStyle(node).color), ground)), luminance(ground)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${walker.currentNode.textContent.trim().slice(0, 40)}`);
}
return faint;
"""


def _looks(browser: Browser) -> None:
    paper = "return getComputedStyle(document.documentElement).backgroundColor"
    browser.prefer("light")
    light = browser.run(paper)
    assert browser.run(CONTRAST) == []
    browser.prefer("dark")
    dark = browser.run(paper)
    assert dark != light, "the system's setting is followed"
    assert browser.run(CONTRAST) == []
    browser.shoot("dark")
    toggle = browser.find("#theme")
    seen = []
    for _ in range(3):
        toggle.send_keys(Keys.ENTER)
        seen.append((toggle.text, browser.run(paper)))
    assert seen == [("Theme: dark", dark), ("Theme: light", light), ("Theme: auto", dark)]
    browser.prefer("light")
    browser.shoot("light")
    browser.shoot("narrow", width=390, most=1_500)
    for width in (1360, 900, 700, 360):
        browser.size(width, 800)
        overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.run(overflow) == 0, f"{width} pixels are too few"
        assert covered(browser, "orders_by_user"), f"the covered position is not shown at {width} pixels"
    browser.size(1360, 900)


def _what_is_away(browser: Browser, worker: Process, reads: Process, relay: Process) -> None:
    browser.expected.append("Failed to load resource")
    relay_address, worker_address = metrics_address(relay), metrics_address(worker)
    worker.send(signal.SIGSTOP)
    browser.wait(
        "the worker is silent",
        lambda: f"Worker at {worker_address}: does not answer within" in browser.text("#notices"),
    )
    browser.wait("it is stale", lambda: f"{_declared()} stale" in browser.text("#summary"), 60)
    assert browser.text("#model-orders_by_user .state") == "stale"
    assert browser.text("#tile-rows_per_s .value") == MISSING, "a figure that is not known is no zero"
    assert browser.text("#tile-retained_bytes .value") != MISSING, "the relay still answers"
    assert browser.run(CONTRAST) == []
    browser.shoot("stale", most=900)
    worker.send(signal.SIGCONT)
    browser.wait(
        "it is fresh again, though nobody writes",
        lambda: browser.text("#notices") == "" and "all fresh" in browser.text("#summary"),
        60,
    )
    worker.kill()
    browser.wait(
        "the worker is dead",
        lambda: f"Worker at {worker_address}: does not answer: nothing listens" in browser.text("#notices"),
    )
    assert relay_address not in browser.text("#notices")
    reads.send(signal.SIGSTOP)
    browser.wait("the server is silent", lambda: "No answer within 5 s" in browser.text("#notices"))
    assert browser.text("#summary") == "no answer"
    assert "The figures below are of" in browser.text("#notices")
    reads.send(signal.SIGCONT)
    browser.wait("the page goes on by itself", lambda: browser.text("#summary") != "no answer")


def _declared() -> int:
    return sum(1 for model in READ_MODELS if model.staleness is not None)
