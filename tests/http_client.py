"""What makes many HTTP clients cheap: each would take 20 ms of CPU for a TLS context of its own, which nothing here needs."""

from __future__ import annotations

import httpx

CONTEXT = httpx.create_ssl_context(trust_env=False)
HTTP = httpx.Client(verify=CONTEXT, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
"""For requests that stand alone. It keeps no connection: servers come and go at the same port."""
