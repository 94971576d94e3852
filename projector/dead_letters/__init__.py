"""Rows that Cassandra refuses: parked, marked, told, and tried again.

Read `letters` (what a dead letter is, and the one decision), `debt` (they outlive the worker), `marks` (what readers see),
`topic` (what is kept of them), `parking` (all of it around a worker's commit), `command` (list and retry).
"""
