"""Scheduled read models: Postgres runs their SQL, and the difference from the last run enters the log.

Reading order: errors, statements (a run's SQL, pure), connection, run (one run), pseudo_tables (their set-up), scheduled
(the long-running process), metrics.
"""
