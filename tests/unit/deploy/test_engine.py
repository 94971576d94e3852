"""The engine's decisions that need no engine: whose process it is, what is refused, what a failed program leaves."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from deploy.containers import base, engine, packages
from deploy.containers.cli import app
from deploy.containers.errors import CommandError, NoEngineError
from deploy.containers.run import run

ABSENT = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


def program(folder: Path, name: str, script: str) -> Path:
    """A program of a test's own; the folder for the path."""
    found = folder / "bin" / name
    found.parent.mkdir(exist_ok=True)
    found.write_text(f"#!/bin/sh\n{script}\n")
    found.chmod(0o755)
    return found.parent


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


def test_a_dockerd_that_dies_at_once_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_ = program(tmp_path, "dockerd", "echo no control groups; exit 1")
    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    monkeypatch.setenv("DOCKER_HOST", ABSENT["DOCKER_HOST"])
    monkeypatch.setattr(packages, "install", list)
    monkeypatch.setattr(packages, "compose_plugin", lambda folder: folder)
    with pytest.raises(NoEngineError, match="no control groups"):
        engine.up(Path("/tmp") / tmp_path.name)  # a path short enough for a socket
    engine.down(Path("/tmp") / tmp_path.name, remove=True)


def test_no_engine_is_started_where_its_client_can_not_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_ = program(tmp_path, "dockerd", f"touch {tmp_path}/started; sleep 60")
    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    monkeypatch.setenv("DOCKER_HOST", ABSENT["DOCKER_HOST"])

    def refuse(_folder: Path) -> Path:
        raise CommandError("no archive", hint="")

    monkeypatch.setattr(packages, "install", list)
    monkeypatch.setattr(packages, "compose_plugin", refuse)
    monkeypatch.setattr(engine, "_START_S", 2.0)
    with pytest.raises(CommandError, match="no archive"):
        engine.up(Path("/tmp") / tmp_path.name)
    assert not (tmp_path / "started").exists()


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


def test_what_a_program_that_hangs_has_started_ends_with_it(tmp_path: Path) -> None:
    said = tmp_path / "pid"
    with pytest.raises(CommandError, match="not at its end"):
        run(("sh", "-c", f"sleep 60 & echo $! > {said}; wait"), hint="", deadline_s=1)
    with contextlib.suppress(psutil.NoSuchProcess):  # it may be a zombie until somebody takes its status
        assert psutil.Process(int(said.read_text())).wait(10) is None


def test_debians_archive_is_told_from_other_vendors_and_from_lines_without_words() -> None:
    told = (
        "stable main https://browser.example\nbookworm main\nnodistro main https://vendor.example\njammy main https://ubuntu.example\n"
        "bookworm-updates main http://debian.example/u\nbookworm main http://debian.example/debian\n"
    )
    assert packages.archive(told) == "http://debian.example/debian"
    with pytest.raises(NoEngineError):
        packages.archive("nodistro main https://vendor.example\n\n")


def test_a_tree_that_tar_can_not_pack_becomes_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_ = program(tmp_path, "docker", f'cat > /dev/null; echo "$*" >> {tmp_path}/asked')
    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    with pytest.raises(CommandError, match="tar ended with"):
        base._import(tmp_path / "absent", "an-image")
    assert (tmp_path / "asked").read_text().splitlines() == ["import - an-image", "image rm an-image"]
    monkeypatch.setattr(base, "_IMPORT_S", 0.2)
    program(tmp_path, "docker", "sleep 5")
    with pytest.raises(CommandError, match="docker import: not at its end"):
        base._import(tmp_path, "an-image")


def test_a_plugin_is_fetched_after_a_try_that_ended_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "apt"
    own.mkdir()
    (own / "docker-compose_1.deb").write_text("")

    def done(argv: tuple[object, ...], **_: object) -> str:
        if "download" in argv:
            (own / "docker-compose_2.deb").write_text("")
        if argv[0] == "dpkg":
            plugins = own / "unpacked/usr/libexec/docker/cli-plugins"
            plugins.mkdir(parents=True)
            (plugins / "docker-compose").write_text("it")
        return "bookworm main http://debian.example/debian\n"

    monkeypatch.setattr(packages, "run", done)
    assert packages.compose_plugin(tmp_path).read_text() == "it"


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
