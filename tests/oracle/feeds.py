"""A feed's life: the merged read equals the SQL when all is quiet, and never misses a row that was there all along.

`merged` is the read side in a page: what a reader makes of copies, flags, the authors' own tables and, where the copies
of a partition are not whole, Postgres. A `Reading` does that while workers write and crash, table by table, and is held
to what is true at every moment of its duration: a row that was there from the published position at its start to the
log's end at its end must be in it, and one that never was must not. A history of several commits is no excuse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from projections.fan_out import hot_table, skipped_table
from tests.oracle.feed_views import Feed
from tests.oracle.history import Commit, history
from tests.oracle.log import disturbed
from tests.oracle.postgres import Reference, Rows
from tests.oracle.simulation import run
from tests.oracle.trims import Place, in_order
from tests.oracle.world import Models, Rules, World

DESIGN = Rules()
_END: Place = (1 << 60,)
MOST_READS = 4
"""How often a read begins again because flags came or went; then it is answered from Postgres."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a reader finds beside a feed's SQL; rows by key, as in `tests.oracle.store`."""

    copies: Rows
    pull: Rows
    following: Rows
    hot: frozenset[object]
    skipped: frozenset[object]


def merged(feed: Feed, seen: Seen, sql: Rows) -> Rows:
    """All readers' rows. sql: the select() on Postgres, for what copies don't answer."""
    others = [name for name in feed.model.columns if name not in feed.model.key]
    author = others.index(feed.policy.author)
    copies, ends = _newest(seen.copies, feed.policy.cap)
    found = dict(copies)  # an author's own entries are the newer ones
    pulled: dict[object, list[tuple[tuple[object, ...], tuple[object, ...]]]] = {}
    for key, row in seen.pull.items():
        if key[0] in seen.hot:
            pulled.setdefault(key[0], []).append((key[1:], row))
    for reader, followed in seen.following:
        for clustering, row in pulled.get(followed, ()):
            found[(reader, *clustering)] = (*row[:author], followed, *row[author:])
    found = {k: r for k, r in found.items() if k[0] not in seen.skipped and in_order(k) <= ends.get(k[0], _END)}
    below = {k: r for k, r in sql.items() if k[0] in seen.skipped or in_order(k) > ends.get(k[0], _END)}
    return found | below


def _newest(copies: Rows, cap: int | None) -> tuple[Rows, dict[object, Place]]:
    """The newest `cap` copies of each reader, and where they end for those who have no fewer."""
    kept: Rows = {}
    ends: dict[object, Place] = {}
    numbers: dict[object, int] = {}
    for key in sorted(copies, key=in_order):
        numbers[key[0]] = numbers.get(key[0], 0) + 1
        if cap is None or numbers[key[0]] <= cap:
            kept[key] = copies[key]
        if numbers[key[0]] == cap:
            ends[key[0]] = in_order(key)
    return kept, ends


def hot_authors(feed: Feed, commits: Sequence[Commit]) -> frozenset[object]:
    """Who is hot after some commits, by the policy's words: from a threshold on, until below a share of it.

    At a snapshot, below the threshold: whoever begins there can't know more.
    """
    policy, hot = feed.policy, set[object]()
    for commit in commits:
        edges = Counter(row[policy.edge_author].log for row in commit.state[policy.edges.name].values())
        hot |= {author for author, number in edges.items() if number >= policy.threshold}
        back = 1 if commit.xid == "snapshot" else policy.back
        hot -= {author for author in hot if edges[author] < policy.threshold * back}
    return frozenset(hot)


class Life:
    """One history with its SQL's answers, and the readings of it."""

    def __init__(self, feed: Feed, commits: Sequence[Commit], reference: Reference) -> None:
        self._feed, self._commits, self._reference = feed, commits, reference
        self._sql: dict[int, dict[str, Rows]] = {}

    def sql(self, at: int) -> dict[str, Rows]:
        """Each read model's rows after a commit."""
        if at not in self._sql:
            self._sql[at] = self._reference.rows(self._commits[at].state, self._feed.models)
        return self._sql[at]

    def reading(self, world: World) -> Iterator[str | None]:
        """A read in steps, between which workers go on; the last step says what is wrong with it, or None."""
        start = max((at for at, commit in enumerate(self._commits) if commit.end <= world.published), default=None)
        answer: Rows | None = None
        for _ in range(MOST_READS):
            flags = _flags(self._feed, world)
            tables = []
            for name in ("copies", "following", "pull"):
                yield None
                tables.append(_table(self._feed, world, name))
            yield None
            if _flags(self._feed, world)[0] <= flags[0]:
                copies, following, pull = tables
                seen = Seen(copies=copies, following=following, pull=pull, hot=flags[0], skipped=flags[1])
                end = self._end(world)
                answer = merged(self._feed, seen, self.sql(end)[self._feed.model.name] if end is not None else {})
                break
        if start is None or answer is None:
            yield None
            return
        all_states = [self.sql(at) for at in range(start, (self._end(world) or start) + 1)]
        states = [state[self._feed.model.name] for state in all_states]
        lost = {k: r for k, r in states[0].items() if all(s.get(k) == r for s in states) and answer.get(k) != r}
        never = {k: r for k, r in answer.items() if not self._may_be(k, r, all_states)}
        if lost or never:
            what = f"lost {lost}" if lost else f"has {never}, which never was"
            yield f"{self._feed.model.name}: a read between commits {start} and {start + len(states) - 1} {what}"
        yield None

    def _may_be(self, key: tuple[object, ...], row: tuple[object, ...], states: Sequence[dict[str, Rows]]) -> bool:
        """Whether there was such an entry, and such an edge; not at once, since tables are read one after the other."""
        author = _author(self._feed)
        entry, rest = (row[author], *key[1:]), (*row[:author], *row[author + 1 :])
        policy = self._feed.policy
        return any(state[policy.pull.name].get(entry) == rest for state in states) and any(
            (key[0], row[author]) in state[policy.following.name] for state in states
        )

    def _end(self, world: World) -> int | None:
        """Index of the last commit that is whole in the log."""
        return max((e.commit for e in world.log if e.last and e.commit is not None), default=None)


def difference(
    rng: Random, feed: Feed, models: Models, reference: Reference, *, most_commits: int = 24, rules: Rules = DESIGN
) -> str | None:
    """One random life; None when the merged read is right at every cut and at every moment, else what is wrong."""
    commits = history(rng, feed.often, rng.randrange(1, most_commits), growing=0.3)
    if not commits:
        return None
    life = Life(feed, commits, reference)
    log = disturbed(rng, commits)
    faults: list[str] = []
    under_way: list[Iterator[str | None]] = []

    def look(world: World) -> None:
        """A reader begins now and then; whoever has begun goes one step on."""
        if len(under_way) < 2 and rng.random() < 0.2:
            under_way.append(life.reading(world))
        for reading in list(under_way):
            if rng.random() < 0.5:
                try:
                    fault = next(reading)
                except StopIteration:
                    under_way.remove(reading)
                    continue
                if fault is not None:
                    faults.append(fault)

    asked = _asked(rng, commits) if feed.policy.active else {}
    for at, world in run(rng, models, commits, log, rules, look, asked):
        if faults:
            return faults[0]
        wanted = life.sql(at)
        found = {m.name: t.rows() for m, t in zip(feed.models, world.store, strict=True)}
        flags = _flags(feed, world)
        seen = Seen(
            copies=found[feed.model.name],
            pull=found[feed.policy.pull.name],
            following=found[feed.policy.following.name],
            hot=flags[0],
            skipped=flags[1],
        )
        found[feed.model.name] = merged(feed, seen, wanted[feed.model.name])
        for name, rows in wanted.items():
            if found[name] != rows:
                missing = {key: row for key, row in rows.items() if found[name].get(key) != row}
                wrong = {key: row for key, row in found[name].items() if rows.get(key) != row}
                return f"{name} after commit {at} of {len(commits)}: the SQL has {missing}, readers get {wrong}, hot {flags}"
        if flags[0] != (hot := hot_authors(feed, commits[: at + 1])):
            return f"{feed.model.name} after commit {at}: readers are told that {flags[0]} are hot, and it is {hot}"
        copied = {row[_author(feed)] for row in seen.copies.values()} & flags[0]
        if copied:
            return f"{feed.model.name} after commit {at}: entries of the hot authors {copied} are still copied"
    return None


def _asked(rng: Random, commits: Sequence[Commit]) -> dict[int, list[object]]:
    """Readers whose partition somebody asks for, by the end of a transaction."""
    return {commit.end: [rng.randrange(5)] for commit in commits if commit.xid != "snapshot" and rng.random() < 0.1}


def _author(feed: Feed) -> int:
    return [name for name in feed.model.columns if name not in feed.model.key].index(feed.policy.author)


def _flags(feed: Feed, world: World) -> tuple[frozenset[object], frozenset[object]]:
    hot, skipped = world.beside[hot_table(feed.model.name)], world.beside[skipped_table(feed.model.name)]
    return frozenset(key[1] for key in hot.rows()), frozenset(key[0] for key in skipped.rows())


def _table(feed: Feed, world: World, name: str) -> Rows:
    place = {"copies": 0, "pull": 1, "following": 2}[name]
    return world.store[place].rows()
