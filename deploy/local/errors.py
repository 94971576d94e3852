"""What can be wrong with a local stack, each with its remedy.

StackError
├── MachineLacks          this machine can't run the stack now
│   ├── PortInUse         a port that was asked for is taken
│   ├── TooLittleMemory
│   ├── TooLittleDisk
│   └── PartMissing       a Python wheel that carries a server is not installed
├── DownloadFailed        a Java part could not be brought into the cache
│   ├── NoNetwork         the repository could not be reached
│   └── WrongChecksum     what arrived is not what the lock file names
├── NotReady              a server or process did not answer by its deadline, or ended while starting
└── NotAnswering          a stack that the state file calls running does not answer
"""

from __future__ import annotations


class StackError(Exception):
    """message: what happened and where. hint: what to do."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}"


class MachineLacks(StackError):
    """This machine can't run the stack now."""


class PortInUse(MachineLacks):
    """A port that was asked for is taken."""


class TooLittleMemory(MachineLacks):
    """Not enough memory is available."""


class TooLittleDisk(MachineLacks):
    """Not enough room where data or downloads go."""


class PartMissing(MachineLacks):
    """A Python wheel that carries a server is not installed for this platform."""


class DownloadFailed(StackError):
    """A Java part could not be brought into the cache."""


class NoNetwork(DownloadFailed):
    """The repository could not be reached."""


class WrongChecksum(DownloadFailed):
    """What arrived is not what the lock file names."""


class NotReady(StackError):
    """A part did not answer by its deadline, or ended while starting."""


class NotAnswering(StackError):
    """A stack that the state file calls running does not answer."""
