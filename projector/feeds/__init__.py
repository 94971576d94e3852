"""Feeds: which entries are copied to their readers, kept up in the replica and published beside the copies.

Reading order: policy (what a policy may say in a batch), hot (authors whose entries readers merge), inactive (readers
who get no copies), cap (how many a reader keeps), feeds (all policies of a program). The compile's part is
`projector.compile.pushed`; what readers make of it, `projections.fan_out`.
"""
