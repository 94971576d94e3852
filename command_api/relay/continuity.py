"""Whether slot, log and server belong together, decided from values. Pure; each refusal says what is lost, what to do.

Going on is right only when the log's last position is of this server's history and not before the slot's confirmed
position: what lies between those two would never be sent again.
"""

from __future__ import annotations

from command_api.lsn import Lsn
from command_api.relay.catalog import Slot
from command_api.relay.errors import HistoryError, SetupError
from command_api.relay.replication import Identity
from command_api.relay.tail import Tail

NEW_HISTORY = (
    "The log can't be continued: name a new topic in kafka.topic, drop the slot if there is one, run `relay setup`"
    " for a fresh snapshot, and give the projectors the next epoch"
)


def check(*, slot_name: str, slot: Slot | None, tail: Tail, identity: Identity, flushed: int) -> Lsn:
    """The position after which to go on; raises SetupError or HistoryError.

    To be asked for in this order, since others may be writing: the slot, the log's end, and then what the server has flushed.
    """
    position = tail.position
    if slot is None:
        if position is None:
            raise SetupError(f"the slot {slot_name!r} is missing", hint="Run `relay setup`")
        raise HistoryError(
            f"the slot {slot_name!r} is missing, though the log goes up to {position}: changes after that are lost",
            hint=NEW_HISTORY,
        )
    if slot.plugin != "pgoutput" or slot.database != identity.database:
        raise SetupError(
            f"the slot {slot.name!r} is one of {slot.plugin} in database {slot.database!r},"
            f" not of pgoutput in {identity.database!r}",
            hint="Name another slot in relay.slot, then run `relay setup`",
        )
    if position is None:
        raise SetupError("the log has no whole snapshot, as when the set-up was interrupted", hint="Run `relay setup`")
    if slot.lost:
        raise HistoryError(
            f"Postgres has invalidated the slot {slot.name!r} ({slot.lost}): changes after {position} are lost",
            hint=NEW_HISTORY,
        )
    if tail.history is not None and tail.history != identity.text:
        raise HistoryError(_other_history(tail.history, identity, position), hint=NEW_HISTORY)
    if flushed < position:
        raise HistoryError(
            f"the log goes up to {position}, but the server has only written up to {Lsn(flushed)}:"
            " it was restored from an older copy",
            hint=NEW_HISTORY,
        )
    if slot.confirmed > position:
        raise HistoryError(
            f"the slot {slot.name!r} is ahead of the log: confirmed up to {slot.confirmed}, the log ends at {position};"
            " the changes between are lost",
            hint=NEW_HISTORY,
        )
    return position


def _other_history(recorded: str, identity: Identity, position: Lsn) -> str:
    system, _, timeline = recorded.partition("/")
    if system == identity.system:
        return (
            f"the log up to {position} is of timeline {timeline}, the server is on {identity.timeline}:"
            " it was promoted or restored, and commits of the old timeline may be gone"
        )
    return f"the log up to {position} is of another server (system identifier {system}, this one is {identity.system})"


def snapshot_needed(tail: Tail) -> bool:
    """Whether set-up has to take the initial snapshot: nothing whole is in the log yet. A slot is then stale."""
    return tail.position is None
