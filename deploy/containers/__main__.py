"""``python -m deploy.containers``."""

from deploy.containers.cli import app

app()
