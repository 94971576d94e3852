"""Whether the log can still build a replica: it has all its records, or a whole snapshot among those it has."""

from __future__ import annotations

import time

from command_api.envelope import SNAPSHOT_XID
from command_api.process.settings import Kafka
from projector.apply.log import LogReader
from projector.verify.errors import VerifyError

_END = f'"status":"END","id":"{SNAPSHOT_XID}:'.encode()
_BEGIN = f'"status":"BEGIN","id":"{SNAPSHOT_XID}:'.encode()
_READ = 10_000
_POLL_SECONDS = 0.5
_QUIET_SECONDS = 30.0


def log_is_whole(settings: Kafka) -> bool:
    """Read the log from its beginning to the first whole snapshot. Raises LogUnavailableError, VerifyError."""
    reader = LogReader(settings)
    try:
        low, high = reader.bounds()
        if low == 0:
            return True
        reader.open_at(low)
        began, at, quiet = False, low, time.monotonic()
        while at < high:
            for offset, value in reader.read(_READ, _POLL_SECONDS):
                at, quiet = offset + 1, time.monotonic()
                began = began or value.find(_BEGIN, 0, 80) >= 0
                if began and value.find(_END, 0, 80) >= 0:
                    return True
            if time.monotonic() - quiet > _QUIET_SECONDS:
                raise VerifyError(f"the log can't be read: nothing came for {_QUIET_SECONDS:.0f} s at offset {at}")
        return False
    finally:
        reader.close()
