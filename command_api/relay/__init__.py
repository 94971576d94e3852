"""Capture: the write-ahead log becomes the Kafka log.

Read replication (the stream), pgoutput (its messages), encodings and rows (values and records), transactions (from
frames to records), publish and tail (the log's end), continuity (may we go on?), snapshot, setup, loop.
"""
