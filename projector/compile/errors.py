"""What the compile refuses, and how it says so.

CompileError
└── RefusedError      the select() has a clause that can't be maintained exactly; names the clause and the way out
"""

from __future__ import annotations


class CompileError(ValueError):
    """A read model that the engine can't take."""


class RefusedError(CompileError):
    """A clause that can't be maintained exactly.

    clause: the SQL or the construct; remedy: what to write instead.
    """

    def __init__(self, clause: str, remedy: str) -> None:
        super().__init__(f"{clause}: {remedy}")
        self.clause = clause
        self.remedy = remedy


class RefusedModelError(CompileError):
    """A refusal with the read model's name in front."""

    def __init__(self, model: str, error: Exception) -> None:
        super().__init__(f"read model {model!r} is refused: {error}")
        self.model = model
