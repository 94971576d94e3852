"""Tell a login that Postgres refuses, which waiting does not mend, from a server that is away, which it may.

libpq gives a failed connection no SQLSTATE, only the server's words, so the words decide; a server whose lc_messages
are not English counts as away, and is waited for in vain but not for ever (`logged_in` has a bound).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import psycopg
from psycopg.conninfo import make_conninfo

_REFUSALS: Final = (
    ("authentication failed", "user and password"),
    ("no password supplied", "the password"),
    # libpq's own words; they are not translated here, because the wheel of psycopg has no catalogues.
    ("certificate verify failed", "sslmode, sslrootcert and host"),
    ("server certificate for", "sslmode, sslrootcert and host"),
    ("root certificate file", "sslmode, sslrootcert and host"),
    ("could not read root certificate", "sslmode, sslrootcert and host"),
    ("server does not support SSL", "sslmode, sslrootcert and host"),
    ("no pg_hba.conf entry", "sslmode and user, or the server's pg_hba.conf"),
)
_MISSING: Final = (('role "', "user, or run the migrations that make it"), ('database "', "dbname"))
_PAUSE_S: Final = 0.5
_CONNECT_S: Final = 5


class LoginError(Exception):
    """The server can't be used with this conninfo."""


class LoginRefusedError(LoginError):
    """It said no: only another setting helps."""


class AwayError(LoginError):
    """It did not answer within the bound."""


def refusal(message: str) -> str | None:
    """What of the conninfo to check when libpq's message is a refusal; None when waiting may help."""
    for words, check in _REFUSALS:
        if words in message:
            return check
    for words, check in _MISSING:
        if words in message and "does not exist" in message:
            return check
    return None


def logged_in(conninfo: str, *, setting: str, seconds: float, waiting: Callable[[str], None]) -> None:
    """Return once a login has succeeded; `waiting` is told why, once, when the server is away.

    Raises LoginRefusedError at once, AwayError after `seconds`; both name `setting`.
    """
    bounded = make_conninfo(conninfo, connect_timeout=_CONNECT_S)
    deadline = time.monotonic() + seconds
    told = False
    while True:
        try:
            psycopg.connect(bounded).close()
        except psycopg.OperationalError as error:
            text = " ".join(str(error).split())
        else:
            return
        check = refusal(text)
        if check is not None:
            raise LoginRefusedError(f"Postgres refuses the login: {text}; check {check} in {setting}")
        if time.monotonic() >= deadline:
            raise AwayError(
                f"Postgres can't be reached, for {seconds:g} s now: {text}; check host and port in {setting}, and that it is up"
            )
        if not told:
            waiting(text)
            told = True
        time.sleep(_PAUSE_S)  # a poll inside the deadline: nothing tells when a server has come
