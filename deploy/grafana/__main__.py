"""Print the dashboard: ``python -m deploy.grafana > deploy/grafana/lockstep.json``."""

from __future__ import annotations

import sys

from deploy.grafana.dashboard import dashboard_file

if __name__ == "__main__":
    sys.stdout.write(dashboard_file())
