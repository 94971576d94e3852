"""The Cassandra side of the projector: replica values become rows, with the log's position as their write timestamp.

Reading order: errors, encode (rows to bytes, pure), batches (which rows go together, pure), frames (bytes to messages,
pure), session (the connection), statements, ring (which nodes hold a row), lanes (one message out, one answer back),
write (retries, acknowledgement), progress (covered positions).
"""
