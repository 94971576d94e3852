"""Capture: the write-ahead log becomes the Kafka log. Read replication, pgoutput, transactions, publish, snapshot, loop."""
