"""A server without keys lets everybody in, so it is reached from its own machine only, and says that it does."""

from __future__ import annotations

import ipaddress

from command_api.process.access.errors import KeysError
from command_api.process.access.keys import keys_of
from command_api.process.logging import get_logger
from command_api.process.settings import Auth

_SETTINGS = "LOCKSTEP_AUTH__HS256_SECRETS or LOCKSTEP_AUTH__JWKS_FILE"

_log = get_logger(__name__)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name other than localhost may be anywhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_exposure(auth: Auth, host: str, setting: str) -> bool:
    """Whether a server on `host` may run, and is open; raises KeysError. setting: the one that names the host."""
    if keys_of(auth) is not None:
        return False
    if not is_loopback(host):
        raise KeysError(
            f"there are no keys to check tokens with, and {host!r} is reached from other machines: set {_SETTINGS},"
            f" or {setting} to 127.0.0.1"
        )
    return True


def say_open(host: str) -> None:
    """The log line of a server that runs open."""
    _log.warning(
        "running open: there are no keys, so whoever reaches this machine's loopback may do everything",
        host=host,
        hint=f"set {_SETTINGS}",
    )
