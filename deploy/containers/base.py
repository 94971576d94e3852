"""The base of the stand-in images: Debian bookworm by debootstrap, with Python and this machine's certificates.

It takes half a minute and 200 MB of Debian's packages, whose signatures debootstrap checks. The certificate bundle is
this machine's, so that pip works in a container behind a proxy that signs with an authority of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from deploy.containers import images, packages
from deploy.containers.errors import CommandError
from deploy.containers.run import run

RELEASE: Final = "bookworm"
INCLUDED: Final = ("ca-certificates", "python3", "python3-venv")
_IMPORT_S: Final = 300
_TAR_S: Final = 10  # after docker has read all of it
BUNDLE: Final = Path("etc/ssl/certs/ca-certificates.crt")


def exists(image: str) -> bool:
    """Whether the engine has an image."""
    try:
        run(("docker", "image", "inspect", image), hint="", deadline_s=60)
    except CommandError:
        return False
    return True


def make() -> bool:
    """Have the engine hold `images.BASE`; False when it does already. Raises CommandError."""
    if exists(images.BASE):
        return False
    with tempfile.TemporaryDirectory(prefix="lockstep-base-", dir="/var/tmp") as folder:
        root = Path(folder) / "root"
        argv = ("debootstrap", "--variant=minbase", f"--include={','.join(INCLUDED)}", RELEASE, root, packages.mirror())
        run(argv, hint="debootstrap needs root and Debian's archive")
        machine = Path("/") / BUNDLE
        if machine.exists():
            shutil.copyfile(machine, root / BUNDLE)
        shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
        _import(root, images.BASE)
    return True


def _import(root: Path, image: str) -> None:
    """The tree as an image of one layer."""
    archive = subprocess.Popen(("tar", "-C", str(root), "-c", "."), stdout=subprocess.PIPE)  # noqa: S603, S607 - as apt's
    assert archive.stdout is not None
    try:
        ended = subprocess.run(  # noqa: S603 - fixed words
            ("docker", "import", "-", image),  # noqa: S607 - whichever docker the path has, as everywhere here
            stdin=archive.stdout,
            capture_output=True,
            check=False,
            timeout=_IMPORT_S,
        )
        archive.stdout.close()
        packed = archive.wait(_TAR_S)
    except subprocess.TimeoutExpired as error:
        raise CommandError(
            f"docker import: not at its end after {error.timeout:g} s", hint="look at the engine's log"
        ) from error
    finally:
        archive.kill()
        archive.wait()
        archive.stdout.close()
    if packed and not ended.returncode:
        run(("docker", "image", "rm", image), hint="remove the image, which is not whole")
        raise CommandError(f"tar ended with {packed}: the image was not whole", hint=f"is {root} on a full disk?")
    if ended.returncode:
        raise CommandError(f"docker import: {ended.stderr.decode(errors='replace')}", hint="look at the engine's log")
