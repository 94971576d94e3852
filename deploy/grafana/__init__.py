"""The Grafana dashboard as code: dashboard.py is its source, lockstep.json what Grafana loads, provisioning/ tells it where."""
