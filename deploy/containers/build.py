"""Builds the stand-in images, and the project's own.

A stand-in holds the same files that the local stack runs: PostgreSQL's programs from the wheel, Java from its wheel, the
locked and verified jars. Its Dockerfile in deploy/images/ only lays them out, with an entry point that understands the
part of the official image's environment that is used here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from rich.console import Console

from deploy.containers import base, images
from deploy.containers.errors import CommandError
from deploy.containers.run import run
from deploy.local import cassandra, download, folders, jars, java, postgres

DOCKERFILES: Final = folders.TREE / "deploy" / "images"
PROJECT_DOCKERFILE: Final = folders.TREE / "deploy" / "Dockerfile"


def stand_ins(console: Console) -> None:
    """Have the engine hold every stand-in. Raises CommandError, DownloadError, PartMissingError."""
    if base.make():
        console.print(f"made {images.BASE} by debootstrap")
    cache = folders.cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    locked = jars.locked()
    download.ensure(cache, (jar for found in locked.values() for jar in found), console)

    def java_server(name: str) -> Callable[[Path], None]:
        def lay_out(context: Path) -> None:
            _link(context / "java", java.program().parents[1])
            library = context / "lib"
            library.mkdir()
            for jar in locked[name]:
                _link(library / Path(jar.path).name, download.place(cache, jar))

        return lay_out

    def cassandra_server(context: Path) -> None:
        java_server("cassandra")(context)
        (context / "java.options").write_text(opened_packages(), encoding="utf-8")

    contexts = {
        images.CASSANDRA: ("cassandra", cassandra_server),  # the largest first
        images.KAFKA: ("kafka", java_server("kafka")),
        images.POSTGRES: ("postgres", _postgres),
        images.PYTHON: ("python", _nothing),
    }
    # Most of a build is the engine's waiting for the disk.
    with ThreadPoolExecutor(max_workers=len(contexts)) as pool:
        built = [pool.submit(_build, image.stand_in, *of, console) for image, of in contexts.items()]
    for each in built:
        each.result()


def project(console: Console) -> str:
    """Build the project's image from this tree on the Python image of the environment; returns its name."""
    name = os.environ.get(images.PROJECT_VARIABLE) or images.PROJECT
    beginning = images.PYTHON.name(os.environ)
    run(
        (
            *("docker", "build", "--quiet", "--file", PROJECT_DOCKERFILE, "--tag", name),
            *("--build-arg", f"PYTHON_IMAGE={beginning}", folders.TREE),
        ),
        hint=f"can {beginning} be pulled? `python -m deploy.containers images` makes a stand-in for it",
        environment=_builder(),
    )
    console.print(f"built {name} on {beginning}")
    return name


def opened_packages() -> str:
    """Cassandra's ``--add-opens`` and ``--add-exports`` as a file of Java's options, one a line."""
    lines: Iterable[str] = (
        f"--add-{kind}={module}/{package}=ALL-UNNAMED\n"
        for module, packages in cassandra.OPENED_PACKAGES.items()
        for package in packages
        for kind in ("opens", "exports")
    )
    return "".join(lines)


def _builder() -> dict[str, str]:
    """The old kind of builder where the new one's plugin, which Debian's engine doesn't bring, is missing."""
    try:
        run(("docker", "buildx", "version"), hint="", deadline_s=20)
    except CommandError:
        return {"DOCKER_BUILDKIT": "0"}
    return {}


def _postgres(context: Path) -> None:
    package = postgres.package()
    # The programs look for the wheel's libraries beside the package, so both keep their places.
    _link(context / "wheel" / package.name / "pginstall", package / "pginstall")
    _link(context / "wheel" / f"{package.name}.libs", package.with_name(f"{package.name}.libs"))


def _nothing(_context: Path) -> None:
    pass


def _link(target: Path, source: Path) -> None:
    """`source` as `target`: hard links where the file system allows, because docker follows no symbolic ones."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, copy_function=_link_file)
    else:
        _link_file(str(source), str(target))


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _build(name: str, dockerfile: str, lay_out: Callable[[Path], None], console: Console) -> None:
    cache = folders.cache_folder()
    with tempfile.TemporaryDirectory(prefix="image-", dir=cache) as folder:  # where hard links to the jars are possible
        context = Path(folder) / "context"
        shutil.copytree(DOCKERFILES / dockerfile, context)
        lay_out(context)
        run(
            ("docker", "build", "--quiet", "--tag", name, "--build-arg", f"BASE={images.BASE}", context),
            hint="look at the engine's log",
            environment=_builder(),
        )
    console.print(f"built {name}")
