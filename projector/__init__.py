"""The workers: they consume whole transactions of the log and keep one Cassandra table a read model equal to its SQL.

Reading order: compile (select() to SQL over the replica), replica (the embedded state), apply (log to Cassandra), loop.
"""
