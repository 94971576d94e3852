"""The embedded state: a SQLite file with just the source columns that the read models use, and the log position.

Reading order: values (what the log carries, in replica form), schema (the file), images (a batch of changes).
"""
