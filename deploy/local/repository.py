"""Which Maven repository jars come from.

LOCKSTEP_MAVEN_REPOSITORY (a URL), else the mirror of ``central`` in ``~/.m2/settings.xml``, else what jgo goes to by
itself, which is the public one. Checksums are the lock file's, so a repository need not be trusted.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from deploy.local.errors import PartMissingError

_MIRRORED = {"*", "central", "external:*"}


def mirror_of_central(settings_xml: str) -> str | None:
    """The URL of the first mirror that stands for ``central``; None without one. Raises ParseError on broken XML."""
    root = ElementTree.fromstring(settings_xml)  # noqa: S314 - the user's own configuration file
    for mirror in root.iter():
        if mirror.tag.rpartition("}")[2] != "mirror":
            continue
        fields = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in mirror}
        of = {name.strip() for name in fields.get("mirrorOf", "").split(",")}
        if of & _MIRRORED and "!central" not in of and fields.get("url"):
            return fields["url"].rstrip("/")
    return None


def remotes() -> dict[str, str]:
    """Name → URL of the repositories to ask, in order."""
    if given := os.environ.get("LOCKSTEP_MAVEN_REPOSITORY"):
        return {"given": given.rstrip("/")}
    settings = Path.home() / ".m2" / "settings.xml"
    if settings.is_file() and (mirror := mirror_of_central(settings.read_text(encoding="utf-8"))):
        return {"mirror": mirror}
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise PartMissingError(
            "the Python package jgo is not installed",
            hint="make up installs it; or set LOCKSTEP_MAVEN_REPOSITORY to a Maven repository's URL",
        ) from error
    return {name: url.rstrip("/") for name, url in MavenContext().remote_repos.items()}
