"""Why a request is not let in; each API prints it as its own problem.

AccessError
├── TokenInUrlError        400  a token in the query string, where logs and histories would keep it
├── UnauthenticatedError   401  no token, or one that does not count; WWW-Authenticate says which
└── ForbiddenError         403  the token counts, and does not allow this
KeysError                       the settings' keys can't be used: the process does not start
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

_REALM = 'Bearer realm="lockstep"'


class KeysError(Exception):
    """The message names the setting and never a key."""


class AccessError(Exception):
    """`kind` ends the problem's type, `hint` is what the caller can do, `headers` go with the reply."""

    status: ClassVar[int] = 403
    kind: ClassVar[str] = "forbidden"
    title: ClassVar[str] = "Not allowed"

    def __init__(self, detail: str, *, hint: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{detail}; {hint}")
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})


class TokenInUrlError(AccessError):
    """See the module."""

    status, kind, title = 400, "token-in-url", "A token in the URL"


class UnauthenticatedError(AccessError):
    """`fault`: why the token that there is does not count; empty when there is none."""

    status, kind, title = 401, "unauthenticated", "Who is asking is not known"

    def __init__(self, fault: str = "") -> None:
        detail = f"the bearer token {fault}" if fault else "there is no bearer token"
        challenge = f'{_REALM}, error="invalid_token", error_description="{fault}"' if fault else _REALM
        super().__init__(
            detail, hint="send Authorization: Bearer with a token of this service", headers={"WWW-Authenticate": challenge}
        )  # fmt: skip


class ForbiddenError(AccessError):
    """`scope`: one that would do."""

    def __init__(self, detail: str, *, scope: str) -> None:
        challenge = f'{_REALM}, error="insufficient_scope", scope="{scope}"'
        super().__init__(
            detail, hint=f"ask for a token with the scope {scope}", headers={"WWW-Authenticate": challenge}
        )  # fmt: skip
