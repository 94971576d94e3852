"""How every process of the project is configured and logs: settings (one class a server), logging.

The one room that the other packages may enter besides tables, lsn and envelope.
"""
