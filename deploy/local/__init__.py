"""The whole system on one machine: PostgreSQL, Kafka and Cassandra as child processes, and the project's own processes on top.

Read in this order: `part` (what is started), `postgres`, `kafka`, `cassandra`, `apps` (each server's or process's
configuration as text, and how to tell that it answers), `plan` (all of them, and who waits for whom), `supervisor`
(starts, watches, restarts, stops), `stack` (the caller's side: start one, find the running one, stop it), `cli`.
`jars` and `download` bring the Java parts into a cache; `preflight` says what the machine lacks before anything starts.

What is promised on Linux: no process outlives its supervisor, whatever ended it (the kernel ends the children, see
`launcher`). Elsewhere a supervisor that is killed with SIGKILL leaves its children running until the next ``up`` or
``down``, which ends what the state file names.
"""
