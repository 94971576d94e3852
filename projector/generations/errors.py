"""What keeps a generation from being built, switched to or dropped.

GenerationError
├── RegistryError     the registry can't be read or written
│   └── RegistryAwayError  because Cassandra does not answer now
├── TakenError        somebody else did it first, or is doing it
└── NotReadyError     the generation is not in a state for it, or is behind
"""

from __future__ import annotations


class GenerationError(RuntimeError):
    """Base; the message says what happened, where, and what to do."""


class RegistryError(GenerationError):
    """A registry that is missing, or a cluster that does not answer."""


class RegistryAwayError(RegistryError):
    """Cassandra does not answer: what was asked for may be done or not."""


class TakenError(GenerationError):
    """A conditional write that another one came before."""


class NotReadyError(GenerationError):
    """A state, or a position, that does not allow it."""
