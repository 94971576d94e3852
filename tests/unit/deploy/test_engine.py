"""The engine's decisions that need no engine: whose process it is, what is refused, what a failed program leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.containers import engine
from deploy.containers.cli import app
from deploy.containers.errors import CommandError, NoEngineError
from deploy.containers.run import run

ABSENT = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


def test_an_engine_of_somebody_else_is_never_taken_for_ones_own(tmp_path: Path) -> None:
    own = engine.Engine(folder=tmp_path)
    assert own.process() is None
    own.pid_file.write_text(str(os.getpid()))  # a number that another process has by now
    assert own.process() is None
    assert engine.down(tmp_path) is False


def test_the_variables_lead_to_the_folder(tmp_path: Path) -> None:
    found = engine.Engine(folder=tmp_path).variables()
    assert found == {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock", "DOCKER_CONFIG": f"{tmp_path}/client"}


def test_a_folder_too_deep_for_a_socket_is_refused_before_anything_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", ABSENT["DOCKER_HOST"])
    deep = tmp_path / ("d" * 90)
    with pytest.raises(NoEngineError, match="too long for a socket"):
        engine.up(deep)
    assert not deep.exists()


def test_down_removes_what_an_engine_left(tmp_path: Path) -> None:
    folder = tmp_path / "docker"
    (folder / "data").mkdir(parents=True)
    assert engine.down(folder, remove=True) is False
    assert not folder.exists()


def test_a_failed_program_is_named_with_its_end_and_the_remedy() -> None:
    with pytest.raises(CommandError) as caught:
        run(("sh", "-c", "echo first; echo last >&2; exit 3"), hint="do this")
    assert "ended with 3" in caught.value.message
    assert caught.value.message.endswith("first\nlast\n")
    assert caught.value.hint == "do this"


def test_a_program_that_is_absent_or_hangs_is_named() -> None:
    with pytest.raises(CommandError, match="the program no-such-program is not there"):
        run(("no-such-program",), hint="install it")
    with pytest.raises(CommandError, match=r"sleep 5: not at its end after 0\.1 s"):
        run(("sleep", "5"), hint="", deadline_s=0.1)


@pytest.mark.parametrize(
    "command", [("engine", "up"), ("engine", "down"), ("images",), ("image",), ("secrets",), ("demo",)]
)
def test_every_command_has_help_with_an_example(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Example: " in result.output


def test_an_error_is_printed_with_its_remedy_and_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(app, ["secrets", "--folder", str(tmp_path / "file" / "s")])
    assert result.exit_code == 1
    assert "→ choose another --folder" in result.stderr
