"""Who is asking, and what the scopes allow.

    read:<model>      command:<group>      the caller's own: partitions and commands of the token's subject
    read:<model>:any  command:<group>:any  everybody's
    read:*  command:*  read:*:any  command:*:any   every model or group
    metrics                                an API's /metrics

A read model without an owner, and a command that is nobody's, need the scope alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from command_api.process.access.errors import ForbiddenError

METRICS = "metrics"


class Kind(StrEnum):
    """What a scope is about."""

    READ = "read"
    COMMAND = "command"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """subject: the token's; None when the server runs open, where everybody may do everything."""

    subject: str | None
    scopes: frozenset[str] = frozenset()

    def require(self, kind: Kind, name: str) -> None:
        """Raise ForbiddenError unless the scopes cover `name`, at least for the caller's own."""
        if self.subject is None or not self.scopes.isdisjoint((f"{kind}:{name}", f"{kind}:*")):
            return
        if not self.may_any(kind, name):
            raise ForbiddenError(f"the token does not allow {kind}:{name}", scope=f"{kind}:{name}")

    def may_any(self, kind: Kind, name: str) -> bool:
        """Whether the scopes cover what is somebody else's."""
        return self.subject is None or not self.scopes.isdisjoint((f"{kind}:{name}:any", f"{kind}:*:any"))

    def require_any(self, kind: Kind, name: str, why: str) -> None:
        """Raise ForbiddenError unless the scopes cover what is somebody else's; `why` begins the detail."""
        if not self.may_any(kind, name):
            raise ForbiddenError(why, scope=f"{kind}:{name}:any")

    def require_metrics(self) -> None:
        """Raise ForbiddenError unless the scopes cover /metrics."""
        if self.subject is not None and METRICS not in self.scopes:
            raise ForbiddenError("the token does not allow metrics", scope=METRICS)


ANYBODY = Caller(subject=None)
"""Who asks a server that runs open."""
