"""Push, pull or both, for a feed: what each threshold of followers costs, and the one to take. Pure.

To push an entry costs a row a follower: followers times post rate. To pull costs a partition an author and page:
followed authors times page rate. Authors with at least the threshold are pulled, the others are pushed. Which way is
cheaper in all is one question; the other is how long one entry of the largest author takes to reach everybody, because
that is how far the feed may fall behind.

Not promised: that authors post independently of how they are read. Rates are means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

CANDIDATES = (1, 10, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class Authors:
    """Authors with the same number of followers.

    followers: of each. number: of authors. posts, posts_per_s: of all of them. active: followers of all of them that are
    not left out as inactive.
    """

    followers: int
    number: int
    posts: int
    posts_per_s: float
    active: int

    @property
    def copied_share(self) -> float:
        """The share of followers that get copies."""
        total = self.followers * self.number
        return self.active / total if total else 1.0


@dataclass(frozen=True, kw_only=True)
class Feed:
    """A feed as measured.

    readers: who follow anybody. pages_per_s: read by all of them, None when nobody knows. cap: copies a reader keeps.
    """

    name: str
    authors: tuple[Authors, ...]
    readers: int
    pages_per_s: float | None
    cap: int | None = None

    @property
    def copies_per_s(self) -> float:
        """F_followers * post rate, of all authors: the rows a second when everything is pushed."""
        return sum(a.followers * a.copied_share * a.posts_per_s for a in self.authors)

    @property
    def following(self) -> float:
        """Authors that a reader follows, the mean."""
        return sum(a.followers * a.number for a in self.authors) / self.readers if self.readers else 0.0

    @property
    def pulls_per_s(self) -> float | None:
        """F_following * read rate, of all readers: the partitions a second when everything is pulled."""
        return None if self.pages_per_s is None else self.following * self.pages_per_s


@dataclass(frozen=True, kw_only=True)
class Costs:
    """copies_per_s: rows that a worker writes a second. pull_s: seconds of merging one more author into a page."""

    copies_per_s: float
    pull_s: float


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """What one threshold means.

    at: followers from which on an author is pulled; None pushes everybody. hot: authors pulled. pulls_per_s, busy: None
    when the page rate is unknown; busy is the cores that writing and merging keep. longest_s: until an entry of the largest
    pushed author is copied. copies: rows kept.
    """

    at: int | None
    hot: int
    copies_per_s: float
    pulls_per_s: float | None
    hot_per_page: float
    longest_s: float
    copies: int
    busy: float | None


class Kind(StrEnum):
    """The three ways."""

    PUSH = "push"
    PULL = "pull"
    HYBRID = "hybrid"


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to do. why: one sentence."""

    kind: Kind
    threshold: Threshold
    why: str


def thresholds(feed: Feed, costs: Costs, also: Iterable[int] = ()) -> tuple[Threshold, ...]:
    """A row for each candidate up to the largest author, from pulling everybody to pushing everybody."""
    largest = max((a.followers for a in feed.authors), default=0)
    chosen = sorted({at for at in (*CANDIDATES, *also) if at <= largest or at == 1})
    return tuple(_threshold(feed, costs, at) for at in (*chosen, None))


def advise(feed: Feed, costs: Costs, table: Iterable[Threshold], bound_s: float) -> Advice:
    """The cheapest threshold whose entries are copied within a bound; without a page rate the largest such threshold."""
    rows = list(table)
    allowed = [row for row in rows if row.longest_s <= bound_s]
    every = rows[-1]
    known = [row for row in allowed if row.busy is not None]
    best = min(known, key=lambda row: (row.busy, -_order(row))) if known else max(allowed, key=_order)
    if best.at is None:
        reason = f"the largest author's {_largest(feed):,} followers are reached in {best.longest_s:.2g} s"
        if best.busy is not None:
            reason += ", and no threshold is cheaper"
        return Advice(kind=Kind.PUSH, threshold=best, why=reason)
    saved = every.copies_per_s - best.copies_per_s
    reason = f"{best.hot:,} authors cause {saved:,.3g} of {every.copies_per_s:,.3g} copies a second"
    if every.longest_s > bound_s:
        reason += f"; an entry of the largest would take {every.longest_s:,.2g} s to copy, more than {bound_s:g}"
    if best.pulls_per_s is not None:
        reason += f"; merging them costs {best.pulls_per_s:,.3g} partitions a second"
    return Advice(kind=Kind.PULL if best.hot == rows[0].hot else Kind.HYBRID, threshold=best, why=reason)


def percentile(authors: Iterable[Authors], share: float) -> int:
    """The followers that this share of authors does not exceed."""
    ordered = sorted(authors, key=lambda a: a.followers)
    wanted, seen = share * sum(a.number for a in ordered), 0
    for each in ordered:
        seen += each.number
        if seen >= wanted:
            return each.followers
    return 0


def _threshold(feed: Feed, costs: Costs, at: int | None) -> Threshold:
    pushed = [a for a in feed.authors if at is None or a.followers < at]
    hot = [a for a in feed.authors if at is not None and a.followers >= at]
    copies_per_s = sum(a.followers * a.copied_share * a.posts_per_s for a in pushed)
    hot_per_page = sum(a.followers * a.number for a in hot) / feed.readers if feed.readers else 0.0
    pulls = None if feed.pages_per_s is None else feed.pages_per_s * hot_per_page
    copies = round(sum(a.followers * a.copied_share * a.posts for a in pushed))
    largest = max((round(a.followers * a.copied_share) for a in pushed), default=0)
    return Threshold(
        at=at,
        hot=sum(a.number for a in hot),
        copies_per_s=copies_per_s,
        pulls_per_s=pulls,
        hot_per_page=hot_per_page,
        longest_s=largest / costs.copies_per_s,
        copies=copies if feed.cap is None else min(copies, feed.cap * feed.readers),
        busy=None if pulls is None else copies_per_s / costs.copies_per_s + pulls * costs.pull_s,
    )


def _order(row: Threshold) -> float:
    return float("inf") if row.at is None else row.at


def _largest(feed: Feed) -> int:
    return max((a.followers for a in feed.authors), default=0)
