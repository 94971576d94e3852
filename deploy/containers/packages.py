"""Debian's packages for an engine: docker.io, iptables, debootstrap by apt-get, and a docker compose that is new enough.

Only what is missing is installed, which needs root and Debian or one of its children. Bookworm's docker-compose is the
first generation, so the plugin comes from the next release's package, unpacked into the engine's own folder: nothing
of that release is installed. apt checks its signatures as it does for every package.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from deploy.containers.errors import NoEngineError
from deploy.containers.run import run

PROGRAMS: Final = {"dockerd": "docker.io", "docker": "docker.io", "iptables": "iptables", "debootstrap": "debootstrap"}
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
COMPOSE_RELEASE: Final = "trixie"
RELEASES: Final = frozenset({"bookworm", "trixie", "forky", "duke", "sid"})
"""Debian's own by their names: other vendors call theirs ``stable`` too, or nothing at all."""
_HINT: Final = "is Debian's archive reachable from here? Otherwise bring a Docker engine and set DOCKER_HOST"


def missing() -> list[str]:
    """The packages whose programs are not on the path; /usr/sbin is looked into even where the path leaves it out."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    return sorted({package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None})


def install() -> list[str]:
    """Install what is missing; returns the packages. Raises NoEngineError without root or apt, CommandError."""
    wanted = missing()
    if not wanted:
        return []
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoEngineError(
            f"there is no Docker engine, and {', '.join(wanted)} can't be installed: that needs root and apt-get",
            hint="install Docker as its makers say, start it, and see that `docker info` answers",
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(("apt-get", "update", "-q"), hint=_HINT, environment=quiet)
    run(("apt-get", "install", "-y", "-q", "--no-install-recommends", *wanted), hint=_HINT, environment=quiet)
    return wanted


def mirror() -> str:
    """Where this machine's apt has Debian's own packages from. Raises NoEngineError when it names no such place."""
    # One line a source: "bookworm main http://…"; those of updates and of security have a release with a suffix.
    told = run(
        ("apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"),
        hint=_HINT,
    )
    return archive(told)


def archive(told: str) -> str:
    """The first source of a release of Debian's among lines of (release, component, address). Raises NoEngineError."""
    for line in told.splitlines():
        release, component, address = [*line.split(" ", 2), "", ""][:3]  # a source may leave words out
        if component == "main" and release in RELEASES and address:
            return address
    raise NoEngineError(
        "apt has no source of Debian's packages",
        hint="see /etc/apt/sources.list and sources.list.d; a release goes by its name there, as bookworm",
    )


def compose_plugin(folder: Path) -> Path:
    """The plugin docker-compose below `folder`, fetched if it is not there. Raises CommandError."""
    plugin = folder / "cli-plugins" / "docker-compose"
    if plugin.exists():
        return plugin
    own = folder / "apt"
    shutil.rmtree(own, ignore_errors=True)  # what a try that ended half-way has left
    for part in ("lists/partial", "cache/archives/partial"):
        (own / part).mkdir(parents=True, exist_ok=True)
    sources = own / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {mirror()} {COMPOSE_RELEASE} main\n", encoding="utf-8")
    options = (
        f"-oDir::Etc::sourcelist={sources}",
        "-oDir::Etc::sourceparts=/dev/null",
        f"-oDir::State::Lists={own / 'lists'}",
        f"-oDir::Cache={own / 'cache'}",
        "-oAPT::Sandbox::User=root",  # the folder is root's own
    )
    run(("apt-get", "-q", *options, "update"), hint=_HINT)
    run(("apt-get", "-q", *options, "download", "docker-compose"), hint=_HINT, folder=own)
    (package,) = own.glob("docker-compose_*.deb")
    run(("dpkg", "-x", package, own / "unpacked"), hint="dpkg is part of every Debian")
    plugin.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(own / "unpacked" / "usr/libexec/docker/cli-plugins/docker-compose", plugin)
    shutil.rmtree(own)
    return plugin
