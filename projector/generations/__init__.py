"""Generations of read models: built beside the live table, verified, switched to in one write, dropped by command.

Reading order: `projections.generations` (what the registry holds), registry (its conditional writes), tables (which table a
worker writes), build (the worker of a build) with claim, progress and verified, switch, drop, handover (what a steady
worker does when the pointer moves), command.
"""
