"""The page that the read API serves at ``/``: how far behind every read model is, and a read beside its SQL.

Promised: it shows what was measured; what nobody measures is said to be missing, never made up. It needs no build step
and nothing from another host, which its Content-Security-Policy holds it to.

Reading order: scrape (metrics of the other processes), figures (two samples become figures; pure), board (samples while
somebody looks, and their history), comparison (one key read from Cassandra and from Postgres), files (what the browser
loads), app (HTTP).
"""
