"""What can be wrong with containers, each with its remedy.

ContainersError (a StackError: message and hint)
├── NoEngineError     no Docker engine answers, and none may or can be started
├── CommandError      a program that this calls (apt-get, debootstrap, docker) ended with an error
└── SecretsError      the folder of secrets can't be written as it must be
"""

from __future__ import annotations

from deploy.local.errors import StackError


class ContainersError(StackError):
    """Something about containers."""


class NoEngineError(ContainersError):
    """No Docker engine answers, and none may or can be started."""


class CommandError(ContainersError):
    """A program that is called from here ended with an error."""


class SecretsError(ContainersError):
    """The folder of secrets can't be written as it must be."""
