"""The same servers and processes in containers: image names, stand-in images, an engine to run them where there is none.

The images of PostgreSQL, Kafka and Cassandra are the official ones by default (`images`), and whoever can pull them needs
nothing else from here. Where no image registry can be reached, `build` makes stand-ins from the very servers that the
local stack runs, on a Debian base of debootstrap's (`base`), and `engine` starts a Docker engine from Debian's packages
(`packages`). The stand-ins keep as much of the official images' contract as tests and compose.yaml use; the official
images themselves are not run then, and both `images` and the commands say so.

Reading order: images, build, base, engine, packages, secrets (the files that compose.yaml mounts), cli.
"""
