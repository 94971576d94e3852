"""From the log to Cassandra: transaction (a whole one), consume (assembling them), step (a batch), write, progress."""
