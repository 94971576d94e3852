"""Authors with so many edges that their entries are not copied: counted in log order, flagged, and flipped.

Promised: whether an author is hot at a position is a function of the log up to there. It is decided at each
transaction's end, from the author's edges: hot from `threshold` on, until they are below `threshold` * `back`. At a whole
snapshot's end it is from `threshold` on alone, for everybody: a replica may begin there, and who was hot before is not in it. A flip is
an image of the replica's table of hot authors, one that is taken back within the batch too, so the copies of an
author's entries are touched like those of any parent's change, in slices when they are many.

What readers see is a row of ``<model>__hot``, there while entries have to be merged:

    becomes hot     the row, acknowledged; then the copies are deleted
    is no longer    the copies, acknowledged, the last slice of them too; then the row is deleted

so that a reader who looks before and after reading copies never misses an entry. Between a flip and its end the author
is in `FLIPS`: whatever else goes meanwhile still touches its copies, and the row's deletion is still owed.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from projections.fan_out import hot_table
from projections.feed_tables import SHARD
from projector.compile.names import replica_name
from projector.compile.pushed import AUTHOR, CREATE_THAWED, FLIPS, THAWED, FeedProgram
from projector.feeds.policy import Policy, SideWrite
from projector.replica.deferred import parent_text
from projector.replica.images import Images


class HotAuthors(Policy):
    """The hot authors of one feed. flips: since somebody looked and cleared it, how many became hot (True) or not."""

    def __init__(self, connection: sqlite3.Connection, feed: FeedProgram, images: Images) -> None:
        connection.execute(CREATE_THAWED)
        self._run = connection.execute
        self._feed = feed
        self._put: Callable[[tuple[Any, ...], tuple[Any, ...] | None], None] = images.writing(feed.hot.fullname)
        self._author = feed.policy.edge_author
        self._hot = replica_name(feed.hot.fullname)
        self._count = f"SELECT n FROM {feed.counts} WHERE {AUTHOR} = ?"
        self._set_count = f"INSERT OR REPLACE INTO {feed.counts} VALUES (?, ?)"
        self._no_count = f"DELETE FROM {feed.counts} WHERE {AUTHOR} = ?"
        self._is_hot = f"SELECT 1 FROM {self._hot} WHERE {AUTHOR} = ?"
        self._changes: dict[Any, int] = {}
        self._emptied = False
        self._hot_now: dict[Any, bool] = {}  # authors that flipped in the batch: how they ended
        self._silent = False
        self._thawed = True  # perhaps: of a batch that was rolled back
        self.flips: Counter[bool] = Counter()

    @property
    def watches(self) -> frozenset[str]:
        """The edges."""
        return frozenset((self._feed.edges,))

    def changed(self, table: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        """Count an edge that comes, goes or moves."""
        for row, by in ((before, -1), (after, 1)):
            if row is not None and (author := row[self._author]) is not None:
                self._changes[author] = self._changes.get(author, 0) + by

    def emptied(self, table: str) -> None:
        """All edges are gone."""
        self._changes.clear()
        self._emptied = True

    def end(self, committed_at: int, *, snapshot: bool = False) -> None:
        """Decide who is hot, from the edges as this transaction left them."""
        self._forget_thawed()  # a copy may be made now
        if self._emptied:
            self._run(f"DELETE FROM {self._feed.counts}")
        if self._emptied or snapshot:
            still = {author: 0 for (author,) in self._run(f"SELECT {AUTHOR} FROM {self._hot}").fetchall()}
            self._changes = still | {a: 0 for a, hot in self._hot_now.items() if hot} | self._changes
            self._emptied = False
        policy = self._feed.policy
        stays = policy.threshold * (1 if snapshot else policy.back)
        for author, by in self._changes.items():
            found = self._run(self._count, (author,)).fetchone()
            edges = (found[0] if found else 0) + by
            if edges:
                self._run(self._set_count, (author, edges))
            else:
                self._run(self._no_count, (author,))
            hot = self._now(author)
            if edges < stays if hot else edges >= policy.threshold:
                self._flip(author, not hot, snapshot=snapshot)
        self._changes.clear()

    def first(self) -> Iterator[SideWrite]:
        """The flags of authors who flipped in the batch and are hot at its end."""
        authors = [author for author, hot in self._hot_now.items() if hot]
        if authors and not self._silent:
            yield SideWrite(table=hot_table(self._feed.model), rows=tuple((SHARD, author) for author in authors))

    def last(self) -> Iterator[SideWrite]:
        """The flags of authors whose copies are all there again; flips that are worked off are forgotten."""
        done = [author for author in self.under_way() if not self._put_aside(author)]
        if not done:
            return
        copied = tuple((SHARD, author) for author in done if self._run(self._is_hot, (author,)).fetchone() is None)
        if copied:
            yield SideWrite(table=hot_table(self._feed.model), rows=copied, delete=True)
        for author in done:
            self._run(f"DELETE FROM {FLIPS} WHERE model = ? AND author = ?", (self._feed.model, author))

    def clear(self, *, silent: bool) -> None:
        """A batch begins."""
        self._hot_now.clear()
        self._forget_thawed()
        self._silent = silent

    def reset(self) -> None:
        """The batch was rolled back."""
        self._hot_now.clear()
        self._changes.clear()
        self.flips.clear()
        self._emptied = False
        self._thawed = True

    def under_way(self) -> list[Any]:
        """Authors whose flip is not worked off."""
        return [a for (a,) in self._run(f"SELECT author FROM {FLIPS} WHERE model = ?", (self._feed.model,)).fetchall()]

    def number(self) -> int:
        """How many authors are hot."""
        (number,) = self._run(f"SELECT count(*) FROM {self._hot}").fetchone()
        return int(number)

    def _put_aside(self, author: Any) -> bool:
        """Whether copies wait in the queue because of this author; another change of the author's counts too, it does no harm."""
        aside = "SELECT 1 FROM main.deferred WHERE model = ? AND parent = ? LIMIT 1"
        return self._run(aside, (self._feed.model, parent_text([author]))).fetchone() is not None

    def _now(self, author: Any) -> bool:
        hot = self._hot_now.get(author)
        return hot if hot is not None else self._run(self._is_hot, (author,)).fetchone() is not None

    def _forget_thawed(self) -> None:
        if self._thawed:
            self._run(f"DELETE FROM {THAWED} WHERE model = ?", (self._feed.model,))
            self._thawed = False

    def _flip(self, author: Any, hot: bool, *, snapshot: bool = False) -> None:
        # A snapshot may stand for transactions that nobody has seen.
        was_hot = not hot and not snapshot and author not in self._hot_now
        self._hot_now[author] = hot
        self.flips[hot] += 1
        self._put((author,), (author,) if hot else None)
        if not self._silent:
            new = self._run(f"INSERT OR IGNORE INTO {FLIPS} VALUES (?, ?)", (self._feed.model, author)).rowcount
            if was_hot and new:
                self._run(f"INSERT INTO {THAWED} VALUES (?, ?)", (self._feed.model, author))
                self._thawed = True
