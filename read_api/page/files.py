"""What the browser loads: the files below ``static``, read once, with headers that let it load nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib import resources

INDEX = "index.html"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True, kw_only=True)
class File:
    """body: as it lies there. tag: of its contents, for If-None-Match."""

    body: bytes
    kind: str
    tag: str

    @property
    def headers(self) -> dict[str, str]:
        """Of its reply: kept by the browser, asked for again each time."""
        return HEADERS | {"Content-Type": self.kind, "ETag": self.tag, "Cache-Control": "no-cache"}


def load_files() -> dict[str, File]:
    """All files by name."""
    found = {}
    for entry in resources.files("read_api.page").joinpath("static").iterdir():
        suffix = entry.name[entry.name.rfind(".") :]
        if suffix in _KINDS:
            body = entry.read_bytes()
            found[entry.name] = File(body=body, kind=_KINDS[suffix], tag=f'"{sha256(body).hexdigest()[:32]}"')
    return found
