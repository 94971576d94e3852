"""A log of reviews that are written, edited and deleted, made without Postgres: the records as the relay encodes them.

Of ten changes seven are inserts, two are updates of the rating and one is a delete, of rows drawn evenly from all that
are there, in transactions of ten. Seeded. The keys rise with time, as uuid v7 does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

TRANSACTION = 10
_LOADED = 10_000  # rows a transaction that fills
_MOST_SMALL = 1 << 20  # products of small groups have numbers from here on
_STAMP = '"ts_ms":1800000000000,"ts_us":1800000000000000'


class ReviewLog:
    """live: numbers of the rows that `changes` may touch. small: those of each small group, which it leaves alone."""

    def __init__(self, products: int, seed: int = 7) -> None:
        self.products = products
        self.live: list[int] = []
        self.small: list[list[int]] = []
        self._random = random.Random(seed)
        self._products: list[int] = []  # by row number
        self._lsn = 1_000_000

    def catalogue(self, categories: int = 50) -> Iterator[bytes]:
        """The categories and the products."""
        yield from self._transaction(
            "categories",
            [("c", "null", f'{{"category_id":"{_uuid(1, n)}","name":"of kind {n}"}}') for n in range(categories)],
        )
        yield from self._transaction(
            "products",
            [
                (
                    "c",
                    "null",
                    f'{{"product_id":"{_uuid(2, n)}","name":"product {n}","description":"as good as number {n}",'
                    f'"price":"{n}.50","category_id":"{_uuid(1, n % categories)}","version":1}}',
                )
                for n in range(self.products)
            ],
        )

    def fill(self, rows: int, small_groups: int = 0, small_rows: int = 0) -> Iterator[bytes]:
        """Reviews of random products, and among them, scattered evenly, those of groups of a few rows."""
        others = [group for _ in range(small_rows) for group in range(small_groups)]
        self.small = [[] for _ in range(small_groups)]
        every = rows // len(others) if others else 0
        for first in range(0, rows, _LOADED):
            changes = []
            for at in range(first, min(first + _LOADED, rows)):
                changes.append(self._insert())
                if others and at % every == 0:
                    group = others.pop()
                    self.small[group].append(len(self._products))
                    changes.append(self._written("c", len(self._products), _MOST_SMALL + group))
            yield from self._transaction("reviews", changes)

    def changes(self, count: int) -> Iterator[bytes]:
        """The next changes, a multiple of ten."""
        for _ in range(count // TRANSACTION):
            yield from self._transaction("reviews", [self._change() for _ in range(TRANSACTION)])

    def edits(self, rows: Sequence[int]) -> Iterator[bytes]:
        """One transaction that changes these rows' ratings."""
        yield from self._transaction("reviews", [self._written("u", row) for row in rows])

    def sample(self, count: int) -> list[int]:
        """Distinct live rows."""
        return self._random.sample(self.live, count)

    def _change(self) -> tuple[str, str, str]:
        drawn = self._random.random()
        if drawn < 0.7 or not self.live:
            return self._insert()
        place = self._random.randrange(len(self.live))
        row = self.live[place]
        if drawn < 0.9:
            return self._written("u", row)
        self.live[place] = self.live[-1]
        self.live.pop()
        return "d", f'{{"review_id":"{_uuid(7, row)}"}}', "null"

    def _insert(self) -> tuple[str, str, str]:
        self.live.append(len(self._products))
        return self._written("c", len(self._products), int(self._random.random() * self.products))

    def _written(self, op: str, row: int, product: int = 0) -> tuple[str, str, str]:
        if op == "c":
            self._products.append(product)
        micros = row % 1_000_000
        after = (
            f'{{"review_id":"{_uuid(7, row)}","product_id":"{_uuid(2, self._products[row])}","user_id":"{_uuid(3, row)}",'
            f'"rating":{1 + int(self._random.random() * 5)},"body":"does what it says, and came in one piece",'
            f'"created_at":"2026-11-21T10:00:{row // 1_000_000:02}.{micros:06}Z","version":1}}'
        )
        return op, "null", after

    def _transaction(self, table: str, changes: Sequence[tuple[str, str, str]]) -> Iterator[bytes]:
        ident = f"{self._lsn}:{self._lsn}"
        yield f'{{"status":"BEGIN","id":"{ident}","event_count":null,"data_collections":null,{_STAMP}}}'.encode()
        source = f'"version":"1","connector":"postgresql","name":"app","db":"app","schema":"public","table":"{table}"'
        source += f',{_STAMP},"snapshot":"false","txId":{self._lsn},"lsn":{self._lsn}'
        for order, (op, before, after) in enumerate(changes, 1):
            yield (
                f'{{"before":{before},"after":{after},"source":{{{source}}},"op":"{op}",{_STAMP},'
                f'"transaction":{{"id":"{ident}","total_order":{order},"data_collection_order":{order}}}}}'
            ).encode()
        count, end = len(changes), self._lsn + 500
        yield (
            f'{{"status":"END","id":"{self._lsn}:{end}","event_count":{count},'
            f'"data_collections":[{{"data_collection":"public.{table}","event_count":{count}}}],{_STAMP}}}'
        ).encode()
        self._lsn += 1_000


def _uuid(kind: int, number: int) -> str:
    return f"{number:08x}-0000-7000-8000-{kind:012x}"
