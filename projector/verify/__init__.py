"""Verification: is a read model equal to its SQL, at a known point of the log, while everything goes on changing?

Reading order: judge (what one look at a key proves), compare (the looks), checksum and partitions (cheap equality),
ledger; source and postgres_values (one side), table and cassandra_values (the other); mend (repair through the log),
log; run, report, command; sampler (the same in the background of a worker).
"""
