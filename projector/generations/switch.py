"""The switch: one conditional write of the pointer, once the new generation covers what the old one published.

Both positions are read at once, so "covers" is true of one moment; afterwards both go on, and a read with a token waits for
the one that it reads. Two workers that write all the time are never level for long: after `LEVEL_S` seconds it is enough that the
new one covers what the old one had published `BEHIND_S` before. The way back is the same switch: to the generation before, while a worker still follows it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from command_api.lsn import Lsn
from projections.generations import READY, Generation, Registered
from projector.cassandra.progress import Position
from projector.generations.errors import NotReadyError
from projector.generations.registry import Registry

LEVEL_S = 5.0
BEHIND_S = 0.5
_POLL_S = 0.02


def target(of_model: Registered, number: int | None) -> Generation:
    """The generation to switch to: that one, or the newest that is ready and not live. Raises NotReadyError."""
    name = of_model.read_model
    if number is None:
        ready = [g for g in of_model.generations.values() if g.state in READY and g.number != of_model.live]
        if not ready:
            raise NotReadyError(
                f"{name} has no verified generation beside the live one, {of_model.live}: run `projector generations build {name}`"
            )
        return max(ready, key=lambda g: g.number)
    if number not in of_model.generations:
        raise NotReadyError(
            f"{name} has no generation {number}: it has {', '.join(map(str, sorted(of_model.generations)))}"
        )
    chosen = of_model.generations[number]
    if chosen.state not in READY:
        why = f" ({chosen.reason})" if chosen.reason else ""
        raise NotReadyError(f"generation {number} of {name} is {chosen.state}{why}: only a verified one can be live")
    return chosen


def covers(new: Position | None, old: Position | None) -> bool:
    """Whether one generation's position is at or beyond another's; a newer source history is beyond any."""
    if old is None:
        return True
    return new is not None and (new.epoch, new.lsn) >= (old.epoch, old.lsn)


def switch(
    registry: Registry,
    positions: Callable[[], Mapping[str, Position]],
    name: str,
    number: int | None = None,
    *,
    wait_s: float = 30.0,
) -> Generation:
    """Make a generation live, waiting for it to cover what the live one has published; it, also when it is live already.

    Raises NotReadyError, TakenError, RegistryError.
    """
    began = time.monotonic()
    published: deque[tuple[float, Position | None]] = deque()  # of the old one, the last so many seconds
    while True:
        of_model = registry.read((name,))[name]
        if number == of_model.live:
            return of_model.current
        to = target(of_model, number)
        now = positions()
        new, old = now.get(to.table), now.get(of_model.current.table)
        at = time.monotonic()
        published.append((at, old))
        while len(published) > 1 and published[1][0] <= at - BEHIND_S:
            published.popleft()
        if covers(new, old) or (at - began > LEVEL_S and covers(new, published[0][1])):
            registry.switch(of_model, to)
            return to
        if at - began > wait_s:
            raise NotReadyError(
                f"generation {to.number} of {name} covers {Lsn(new.lsn) if new else 'nothing'}, the live one"
                f" {Lsn(old.lsn) if old else 'nothing'}, and that did not change within {wait_s:g} s: is a worker following it"
                f" (`projector generations build {name}`, or one with its declaration)?"
            )
        time.sleep(_POLL_S)  # a poll inside the deadline: Cassandra tells nobody of a new position
