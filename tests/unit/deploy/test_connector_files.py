"""The connector's file: what the log's contract needs of it, and a reason on its page for each property."""

from __future__ import annotations

import json
import re

import pytest

from command_api import envelope
from deploy.local import connect

CONFIG = json.loads((connect.FILES / "connector.json").read_text())["config"]
PAGE = (connect.FILES / "README.md").read_text()


def test_the_connector_keeps_the_logs_contract() -> None:
    assert CONFIG["unavailable.value.placeholder"] == envelope.UNAVAILABLE
    prefixes = re.compile(CONFIG["message.prefix.include.list"])
    assert prefixes.fullmatch(f"{envelope.MESSAGE_PREFIX}repair")
    assert not prefixes.fullmatch("lockstep")
    assert re.fullmatch(CONFIG["transforms.log.regex"], "app.transaction")


@pytest.mark.parametrize("name", CONFIG)
def test_each_property_has_its_reason(name: str) -> None:
    assert re.search(rf"^\|[^|]*`{re.escape(name)}(=[^`]*)?`[^|]*\|[^|]+\|$", PAGE, re.MULTILINE)


def test_each_value_on_the_page_is_the_files() -> None:
    for name, value in re.findall(r"`([a-z.]+)=([^`]+)`", PAGE):
        if name in CONFIG:
            assert CONFIG[name] == value


def test_the_environment_has_what_the_file_asks_for() -> None:
    asked = set(re.findall(r"\$\{env:(\w+)\}", json.dumps(CONFIG)))
    conninfo = "host=db.example port=5433 dbname=app user=lockstep_relay password=x"
    given = connect.variables(conninfo=conninfo, slot="s", publication="p", topic="t")
    assert set(given) == asked
    assert given["LOCKSTEP_DEBEZIUM_HOST"] == "db.example"
