"""The page of a server that asks for tokens, and of one that knows nothing yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from command_api.process.access.mint import mint
from command_api.process.settings import Settings
from projections import READ_MODELS
from tests.e2e.browser import MISSING, Browser, browsing
from tests.e2e.pipeline import Pipeline, listening
from tests.http_client import HTTP


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with browsing(tmp_path) as made:
        yield made


def _give(browser: Browser, token: str) -> None:
    field = browser.find("#token-value")
    field.send_keys(token)
    field.submit()


def test_the_page_asks_for_a_token_and_keeps_it_to_itself(pipeline: Pipeline, browser: Browser) -> None:
    pipeline.set_up()
    settings: Settings = pipeline.with_settings(auth={"hs256_secrets": {"one": SecretStr("s" * 40)}})
    url = listening(pipeline.start("read-api", settings=settings))
    for path in ("/", "/page/main.js", "/page/page.css"):
        assert HTTP.get(url + path).status_code == 200, "the page itself is open"
    for path in ("overview", "models", "keys/order_by_id", "comparison/order_by_id/x"):
        assert HTTP.get(f"{url}/page/data/{path}").status_code == 401, path

    browser.expected.append("status of 40")
    browser.open(url)
    browser.wait("the page asks", lambda: browser.find("#token-dialog").is_displayed())
    assert browser.text("#summary") == "a token is needed"
    browser.shoot("token", most=900)
    _give(browser, "not.a.token")
    browser.wait("it asks again", lambda: browser.find("#token-dialog").is_displayed())
    poor = mint(settings.auth, subject="ann", scopes="read:*", seconds=600)
    _give(browser, poor)
    browser.wait("the scope that is missing", lambda: "does not allow metrics" in browser.text("#notices"))
    assert not browser.find("#token-dialog").is_displayed()

    token = mint(settings.auth, subject="ops", scopes="metrics read:*:any", seconds=600)
    browser.find("#token-open").click()
    _give(browser, f"Bearer {token}")
    names = [model.name for model in READ_MODELS]
    browser.wait("figures", lambda: browser.texts("#model-rows .pick") == names)
    kept = browser.run("return JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])")
    assert token.split(".")[2] not in kept
    assert token not in browser.driver.page_source

    # No worker has ever run, and no address is set.
    assert browser.text("#summary") == f"{len(names)} read models, {len(names)} not known"
    notices = browser.text("#notices")
    assert "Worker: no address is set: LOCKSTEP_READ_API__WORKER_METRICS" in notices
    assert "Relay: no address is set: LOCKSTEP_READ_API__RELAY_METRICS" in notices
    assert {browser.text(f"#model-{name} .state") for name in names} == {"nothing covered"}
    assert set(browser.texts(".tile .value")) == {MISSING}
    browser.wait("no keys", lambda: browser.text("#result") == "Pick a read model and give a key.")
    browser.driver.refresh()
    browser.wait("a page that was left forgets it", lambda: browser.find("#token-dialog").is_displayed())
