"""The read side: one typed HTTP route a read model, and replies that say which log position they cover.

Reading order: instants, numerics, literals and rendering (values in and out), request (a URL becomes a query), cql (a
query becomes a statement), paging (its continuation), protocol, segments, driver_loop, execution and store (Cassandra),
freshness (positions, and waiting for a token), source_values and source_query (a query becomes SQL), fallback
(Postgres), continuation (from one source to the other), order, merge, feed and rebuilds (pages of a feed: copies, and
what has none), coverage (freshness against what is declared), rows (position first, then rows), replies (headers,
entity tags), watched, watch, subjects, hints and streams (changes as they come), openapi (what is promised to clients),
app (HTTP).
"""
