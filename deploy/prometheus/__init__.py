"""Prometheus's configuration, the rules that `projector alerts` prints, and their tests for promtool."""
