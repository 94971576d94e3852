"""``python -m deploy.healthy URL``: ends with 0 when the URL answers 200, else with 1 and the answer: a container's health check."""

from __future__ import annotations

import http.client
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 4.0


def problem(url: str) -> str:
    """Why `url` does not answer 200; empty when it does."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as reply:  # noqa: S310 - the compose file's own URL
            return "" if reply.status == 200 else f"{url} answers {reply.status}"
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}: {error.read(500).decode(errors='replace')}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{url} does not answer: {error}"


if __name__ == "__main__":
    said = problem(sys.argv[1])
    print(said, file=sys.stderr)
    sys.exit(1 if said else 0)
