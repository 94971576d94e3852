"""A topic that is there already is an error of the client's own thread; that thread is late here, as on a busy machine."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from tests.conftest import Stack

LATE: Final = """
import concurrent.futures, sys, time

told = concurrent.futures.Future.set_exception

def late(future, error):
    told(future, error)
    time.sleep(0.05)

concurrent.futures.Future.set_exception = late

from command_api.process.settings import Kafka
from projector.announce import Announcer

settings = Kafka(bootstrap_servers=sys.argv[1], topic=sys.argv[2])
for _ in range(20):
    Announcer(settings, ())
print("done")
"""


def test_a_client_does_not_end_on_its_own_thread(stack: Stack, topic: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LATE, stack.kafka, topic], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr
