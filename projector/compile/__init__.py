"""From a read model's select() to the SQL that maintains it over the replica.

Reading order: errors, expression (the typed tree and its printing), functions (what may be computed), agreement (which operands may meet), casts, scalar (SQLAlchemy
expressions to trees), analyse (the select()'s shape, or a refusal), binding (the proof that the key identifies a row),
touch, recompute, program (all statements of a set of models), explain.
"""
