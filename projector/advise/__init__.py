"""``projector advise``: what a declaration costs on the data that is there, and what another choice would.

Reading order: feed (push, pull or both: pure), capacity (what a scale needs: pure), reach (SQL that finds the rows of a
read model behind a row of its sources: pure), rates (of this machine and of the read API), measure (Postgres), report,
command.
"""
