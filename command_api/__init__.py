"""The write side: the source of truth (tables, migrations, commands) and its published log (envelope, relay).

Reading order: tables, commands, app, relay, envelope.
"""
