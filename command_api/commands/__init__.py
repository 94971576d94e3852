"""What the write side can do, by domain: people, categories, catalogue, orders, reviews, drivers,
trips, posts, messages, follows.

Each command is a model of what is accepted at the edge (`fields.py` has its kinds of text and number), and one function
that takes a connection within a transaction and returns an `Outcome`, or raises a RefusedError. None of it knows HTTP.
"""
