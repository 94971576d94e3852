"""The supervisor on small programs instead of servers: order, restarts, deadlines, and that nothing outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local import folders, state, supervisor

HEAD = """
import sys, signal
from pathlib import Path
from deploy.local.part import Part
from deploy.local.supervisor import Supervisor

folder = Path(sys.argv[1])

def program(name, code, kind="server", **more):
    return Part(name=name, kind=kind, argv=(sys.executable, "-I", "-S", "-c", code), environment={}, folder=folder, **more)

def made(name):
    return lambda: (folder / name).exists()

SLEEP = "import time; time.sleep(600)"
"""
FOOT = "\nsys.exit(Supervisor(folder, PARTS, only=('postgres',), throw_away=False).run())\n"


class Run:
    """A supervisor of the plan in `text`, in a process of its own."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", HEAD + text + FOOT, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folders.TREE,
        )

    def wait(self, wanted: Callable[[state.State], bool], seconds: float = 20) -> state.State:
        deadline = time.monotonic() + seconds
        found = None
        while time.monotonic() < deadline:
            found = state.read(self.folder)
            if found is not None and found.supervisor.pid == self.process.pid and wanted(found):
                return found
            time.sleep(0.02)  # the deadline is the loop; the state is a file of another process
        pytest.fail(f"the state never came: {found}")

    def end(self) -> tuple[int, str]:
        """Give up the lease; returns the exit code and what was said."""
        said, _ = self.process.communicate(timeout=30)
        return self.process.returncode, said


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str], Run]]:
    runs: list[Run] = []

    def start(text: str) -> Run:
        runs.append(Run(tmp_path, text))
        return runs[-1]

    yield start
    for one in runs:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


def ready(now: state.State) -> bool:
    return now.phase == "ready"


def test_a_part_starts_when_what_it_waits_for_is_ready(run: Callable[[str], Run], tmp_path: Path) -> None:
    one = run(
        """
PARTS = (
    program("init", "open('inited', 'w')", kind="task"),
    program("store", "open('up', 'w').write(str(__import__('os').path.exists('inited'))); " + SLEEP,
            after=("init",), answers=made("up")),
    program("app", "open('seen', 'w').write(str(__import__('os').path.exists('up'))); " + SLEEP, kind="app",
            after=("store",), answers=made("seen")),
)
"""
    )
    now = one.wait(ready)
    assert [(part.name, part.phase) for part in now.parts] == [("init", "done"), ("store", "ready"), ("app", "ready")]
    assert (tmp_path / "up").read_text() == (tmp_path / "seen").read_text() == "True"
    code, said = one.end()
    assert code == 0
    assert said.index("stopping: the end of the caller") < said.index("stopped")


def test_parts_stop_in_order_and_one_that_does_not_end_is_killed(run: Callable[[str], Run], tmp_path: Path) -> None:
    one = run(
        """
TELL = ("import signal, time, sys\\n"
        "def end(*_): open('ends', 'a').write('{} '); sys.exit(0)\\n"
        "signal.signal(signal.SIGTERM, end); open('{}.up', 'w'); time.sleep(600)")
PARTS = (
    program("first", TELL.replace("{}", "first"), answers=made("first.up")),
    program("second", TELL.replace("{}", "second"), answers=made("second.up")),
    program("deaf", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('deaf.up', 'w'); "
            "time.sleep(600)", patience_s=0.3, answers=made("deaf.up")),
    program("app", TELL.replace("{}", "app"), kind="app", answers=made("app.up")),
)
"""
    )
    one.wait(ready)
    code, said = one.end()
    assert code == 0
    assert (tmp_path / "ends").read_text().split() == ["app", "second", "first"]
    assert "deaf did not end in time and was killed" in said


def test_a_task_that_fails_stops_all_and_its_last_lines_are_told(run: Callable[[str], Run]) -> None:
    one = run(
        """
PARTS = (program("store", SLEEP),
         program("migrate", "print('no such table'); raise SystemExit(7)", kind="task", after=("store",)))
"""
    )
    assert one.process.wait(20) == 1
    told = state.read(one.folder)
    assert told is not None
    assert told.phase == "failed"
    kind, message, hint = told.error
    assert kind == "NotReadyError"
    assert "migrate ended with exit code 7 while starting" in message
    assert "no such table" in message
    assert "migrate.log" in hint
    store = told.part("store").process
    assert store is not None
    assert store.process() is None


def test_a_part_that_never_answers_misses_its_deadline(run: Callable[[str], Run]) -> None:
    one = run('PARTS = (program("store", SLEEP, answers=lambda: False, deadline_s=0.3),)')
    assert one.process.wait(20) == 1
    told = state.read(one.folder)
    assert told is not None
    assert "store did not answer within 0 s" in told.error[1]


def test_a_part_that_dies_is_started_again(run: Callable[[str], Run]) -> None:
    one = run('PARTS = (program("app", SLEEP, kind="app"),)')
    first = one.wait(ready).part("app").process
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    again = one.wait(lambda now: now.part("app").restarts == 1 and now.part("app").phase == "ready").part("app").process
    assert again is not None
    assert again != first
    code, said = one.end()
    assert code == 0
    assert "app ended with signal SIGKILL" in said


def test_a_part_that_keeps_dying_is_given_up_and_the_others_stay(
    run: Callable[[str], Run],
) -> None:
    one = run(
        """
from deploy.local import supervisor
supervisor.pause_s = lambda deaths: 0.01
PARTS = (program("app", "import time; time.sleep(0.2); print('out of luck')", kind="app"), program("store", SLEEP))
"""
    )
    now = one.wait(lambda now: now.phase == "degraded")
    assert now.part("app").phase == "failed"
    assert now.part("app").restarts == supervisor.MOST_RESTARTS
    assert now.part("store").phase == "ready"
    _, said = one.end()
    assert "out of luck" in said


def test_pauses_grow_and_are_bounded() -> None:
    pauses = [supervisor.pause_s(deaths) for deaths in range(1, 9)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 0.25
    assert pauses[-1] == 8.0


def test_nothing_outlives_a_killed_supervisor(run: Callable[[str], Run]) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('up', 'w'); time.sleep(600)"
    one = run(f'PARTS = (program("a", SLEEP), program("b", "{stubborn}", answers=made("up")))')
    one.wait(ready)
    children = psutil.Process(one.process.pid).children(recursive=True)
    assert len(children) == 2
    one.process.kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def test_the_lease_can_be_given_up_without_stopping(run: Callable[[str], Run]) -> None:
    one = run('PARTS = (program("a", SLEEP),)')
    one.wait(ready)
    assert one.process.stdin is not None
    one.process.stdin.write("keep\n")
    one.process.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        one.process.wait(0.5)
    one.process.terminate()
    assert one.process.wait(20) == 0
    one.process.stdin = None


def test_one_supervisor_owns_a_folder(tmp_path: Path) -> None:
    held = supervisor.lock(tmp_path)
    assert held is not None
    assert supervisor.lock(tmp_path) is None
    held.close()
    again = supervisor.lock(tmp_path)
    assert again is not None
    again.close()
