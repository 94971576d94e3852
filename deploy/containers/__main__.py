"""``python -m deploy.containers``."""

from deploy.containers.cli import app

if __name__ == "__main__":
    app()
