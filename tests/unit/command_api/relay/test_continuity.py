"""When the relay refuses to go on, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from command_api.lsn import Lsn
from command_api.relay.catalog import Slot
from command_api.relay.continuity import check, snapshot_needed
from command_api.relay.errors import HistoryError, SetupError, StoppedError
from command_api.relay.replication import Identity
from command_api.relay.tail import Tail

SLOT = Slot(name="s", plugin="pgoutput", database="db", active_pid=None, confirmed=Lsn(100), lost="", retained=0)
TAIL = Tail(position=Lsn(150), history="77/1", records=9)
HERE = Identity(system="77", timeline=1, database="db")
FLUSHED = 200


@pytest.mark.parametrize("slot", [SLOT, replace(SLOT, confirmed=Lsn(150))])
@pytest.mark.parametrize("tail", [TAIL, replace(TAIL, history=None)])
def test_what_fits_goes_on_after_the_logs_position(slot: Slot, tail: Tail) -> None:
    assert check(slot_name="s", slot=slot, tail=tail, identity=HERE, flushed=FLUSHED) == 150


@pytest.mark.parametrize(
    ("slot", "tail", "identity", "error", "words"),
    [
        (None, Tail(), HERE, SetupError, "slot 's' is missing.*relay setup"),
        (None, TAIL, HERE, HistoryError, "missing, though the log goes up to 0/96.*lost.*new topic"),
        (SLOT, Tail(), HERE, SetupError, "no whole snapshot.*relay setup"),
        (SLOT, Tail(records=5, unfinished=5), HERE, SetupError, "no whole snapshot.*relay setup"),
        (replace(SLOT, plugin="wal2json"), TAIL, HERE, SetupError, "wal2json.*relay.slot"),
        (replace(SLOT, database="other"), TAIL, HERE, SetupError, "'other'"),
        (
            replace(SLOT, lost="wal_removed"),
            TAIL,
            HERE,
            HistoryError,
            "invalidated.*wal_removed.*after 0/96.*new topic",
        ),
        (replace(SLOT, confirmed=Lsn(151)), TAIL, HERE, HistoryError, "ahead of the log.*0/97.*0/96.*new topic"),
        (SLOT, TAIL, replace(HERE, system="78"), HistoryError, "another server.*77.*78.*new topic"),
        (SLOT, TAIL, replace(HERE, timeline=2), HistoryError, "timeline 1.*on 2.*new topic"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(
    slot: Slot | None, tail: Tail, identity: Identity, error: type[StoppedError], words: str
) -> None:
    with pytest.raises(error, match=words):
        check(slot_name="s", slot=slot, tail=tail, identity=identity, flushed=FLUSHED)


def test_a_server_that_has_not_written_what_the_log_holds_is_an_older_copy() -> None:
    assert check(slot_name="s", slot=SLOT, tail=TAIL, identity=HERE, flushed=150) == 150
    with pytest.raises(HistoryError, match=r"goes up to 0/96, .* up to 0/95: .*older copy.*new topic"):
        check(slot_name="s", slot=SLOT, tail=TAIL, identity=HERE, flushed=149)


def test_a_snapshot_is_needed_until_the_log_holds_a_position() -> None:
    assert snapshot_needed(Tail(records=1000, unfinished=1000))
    assert not snapshot_needed(TAIL)
