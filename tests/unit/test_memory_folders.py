"""Folders of throw-away servers in memory: nobody but the next test run removes those of one that was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import folder_in


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(20)
    left = tmp_path / f"lockstep-{ended.pid}-left"
    kept = [tmp_path / name for name in (f"lockstep-{os.getppid()}-used", "lockstep-of-others", f"other-{ended.pid}-a")]
    for folder in (left, *kept):
        folder.joinpath("data").mkdir(parents=True)
    with folder_in(tmp_path) as own:
        assert set(tmp_path.iterdir()) == {Path(own), *kept}
    assert set(tmp_path.iterdir()) == set(kept)
