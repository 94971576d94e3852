"""What can be wrong with a local stack, each with its remedy.

StackError
├── MachineError              this machine can't run the stack now
│   ├── PortInUseError        a port that was asked for is taken
│   ├── TooLittleMemoryError
│   ├── TooLittleDiskError
│   └── PartMissingError      a Python wheel that carries a server is not installed
├── DownloadError             a Java part could not be brought into the cache
│   ├── NoNetworkError        the repository could not be reached
│   └── WrongChecksumError    what arrived is not what the lock file names
├── NotReadyError             a part did not answer by its deadline, or ended while starting
├── AlreadyRunningError       another supervisor owns the stack's folder
└── NotAnsweringError         a stack that the state file calls running does not answer
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


class MachineError(StackError):
    """This machine can't run the stack now."""


class PortInUseError(MachineError):
    """A port that was asked for is taken."""


class TooLittleMemoryError(MachineError):
    """Not enough memory is available."""


class TooLittleDiskError(MachineError):
    """Not enough room where data or downloads go."""


class PartMissingError(MachineError):
    """A Python wheel that carries a server is not installed for this platform."""


class DownloadError(StackError):
    """A Java part could not be brought into the cache."""


class NoNetworkError(DownloadError):
    """The repository could not be reached."""


class WrongChecksumError(DownloadError):
    """What arrived is not what the lock file names."""


class NotReadyError(StackError):
    """A part did not answer by its deadline, or ended while starting."""


class AlreadyRunningError(StackError):
    """Another supervisor owns the stack's folder."""


class NotAnsweringError(StackError):
    """A stack that the state file calls running does not answer."""
