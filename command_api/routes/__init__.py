"""The routes of the commands, a module a domain as in `command_api.commands`; `call.py` first, which all of them use.

A route only names its command, what may be refused, and its status; `Call` carries what the headers ask for.
"""

from command_api.routes import catalogue, follows, messages, orders, people, posts, reviews, trips

ROUTERS = tuple(module.router for module in (people, catalogue, orders, reviews, trips, posts, messages, follows))
