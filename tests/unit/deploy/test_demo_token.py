"""The demonstration against APIs with keys: a token of its own that lets it do what it does, and none where they run open."""

from __future__ import annotations

from typing import Any, cast

from pydantic import SecretStr

from command_api.process.access.caller import Kind
from command_api.process.access.gate import Gate
from command_api.process.access.keys import keys_of
from command_api.process.settings import Auth, CommandApi, ReadApi, Settings
from deploy.local.demo_servers import Servers

NOT_ASKED = cast(Any, None)  # neither connection is used here


def test_where_the_apis_run_open_it_brings_no_token() -> None:
    assert Servers(Settings(auth=Auth()), NOT_ASKED, NOT_ASKED).authorization == {}


def test_its_token_opens_every_command_and_every_partition() -> None:
    auth = Auth(hs256_secrets={"k": SecretStr("s" * 48)})
    headers = Servers(Settings(auth=auth), NOT_ASKED, NOT_ASKED).authorization
    caller = Gate(keys_of(auth)).admit(
        ((name.lower().encode(), value.encode()) for name, value in headers.items()), b""
    )
    assert caller.may_any(Kind.COMMAND, "orders")
    assert caller.may_any(Kind.READ, "home_timeline")


def test_the_settings_say_where_the_apis_are() -> None:
    settings = Settings(command_api=CommandApi(host="command-api", port=1), read_api=ReadApi(host="read-api", port=2))
    servers = Servers(settings, NOT_ASKED, NOT_ASKED)
    assert (servers.command_api, servers.read_api) == ("http://command-api:1", "http://read-api:2")
