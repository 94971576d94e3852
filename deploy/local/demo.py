"""``make demo``: customers use the command API, and Cassandra tables follow; each is held against its SQL at the end.

Against running servers with migrated, empty tables, the demonstration

1. fills users, orders, reviews, trips, posts, follows and messages by SQL (the one step that is not the API's), and waits until the read models cover them;
2. sends a seeded load to the command API at a steady rate, while some of its commands are watched until they can be read;
3. has the scheduled read models run once more, waits until the read models cover everything, compares each with its select() on Postgres, and times one query on both.

`run_demo` returns 0 only when every read model is equal and no read with a token was older than the token.
"""

from __future__ import annotations

from rich.console import Console

from command_api.process.logging import configure_logging
from command_api.process.settings import Settings
from deploy.local import demo_fill
from deploy.local.demo_equal import compare
from deploy.local.demo_feed_equal import compare_feed
from deploy.local.demo_load import run_load
from deploy.local.demo_plan import make_plan
from deploy.local.demo_print import Line, Printer, percentile
from deploy.local.demo_reads import PAGE_ROWS, time_reads
from deploy.local.demo_refresh import refresh
from deploy.local.demo_servers import DemoError, Servers, opened, translated
from deploy.local.demo_watch import Watched, Watcher
from projections import READ_MODELS, SCHEDULED

SEED = 3
PER_SECOND = 80.0
WATCHED = 26  # rounds of seventeen or eighteen commands
WATCHED_PER_SECOND = 20.0
_COVER_S = 90.0
_MODELS = tuple(model.name for model in READ_MODELS)
_SHOWN_READS = 6
_PLAIN_WIDTH = 120  # of the table, where no terminal says


def run_demo(settings: Settings, *, seed: int = SEED, console: Console | None = None) -> int:
    """Run the demonstration; returns the exit code. Raises DemoError (a StackError) when it can't go on."""
    configure_logging("warning")
    printer = Printer(console or _console())
    with translated(), opened(settings) as servers:
        _check_empty(servers)
        _fill(servers, printer)
        watched = _load(servers, printer, seed)
        return _judge(servers, printer, watched, seed)


def _console() -> Console:
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def _check_empty(servers: Servers) -> None:
    row = servers.postgres.execute("select exists (select from users) or exists (select from products)").fetchone()
    if row is not None and row[0]:
        raise DemoError("there are users or products already", hint="the demonstration needs a stack with empty tables")


def _fill(servers: Servers, printer: Printer) -> None:
    conninfo = servers.settings.postgres.command_api.get_secret_value()
    printer.say(
        f"bulk load by SQL (not through the API): {demo_fill.USERS:,} users, {demo_fill.ORDERS:,} orders,"
        f" with {demo_fill.ITEMS:,} lines, {demo_fill.REVIEWS + demo_fill.USERS:,} reviews, {demo_fill.TRIPS:,} trips,"
        f" {demo_fill.POSTS:,} posts with {demo_fill.LIKES:,} likes, {demo_fill.FOLLOWS:,} follows, {demo_fill.ADDRESSES:,} addresses,"
        f" {demo_fill.MESSAGES:,} messages"
    )
    with printer.counting("rows inserted", demo_fill.ROWS) as advance:
        demo_fill.fill(conninfo, advance)
    seconds = servers.wait_until_covered(_MODELS, servers.log_position(), _COVER_S)
    printer.say(f"covered by all {len(_MODELS)} read models {seconds:.1f} s after the last insert")


def _load(servers: Servers, printer: Printer, seed: int) -> Watched:
    plan = make_plan(seed, filled_users=demo_fill.USERS)
    before = sum(len(journey) for part in (plan.catalogue, plan.sign_ups) for journey in part)
    shown = 0

    def tell(text: str) -> None:
        nonlocal shown
        shown += 1
        if shown <= _SHOWN_READS:
            printer.say(text)

    printer.say(
        f"load through {servers.command_api}: {plan.requests:,} commands of seed {seed}, {PER_SECOND:.0f} a second, and beside"
        f" them {WATCHED} orders, reviews, trips, posts, messages, addresses and follows of which every command is watched until it can be read"
    )
    watcher = Watcher(
        servers,
        plan,
        seed=seed,
        rounds=WATCHED,
        per_second=WATCHED_PER_SECOND,
        told=tell,
    )
    answered = 0
    with printer.counting("commands", plan.requests) as advance:

        def told(_request: object) -> None:
            nonlocal answered
            answered += 1
            advance(1)
            if answered == before:
                watcher.start()

        try:
            counted = run_load(servers.command_api, plan, PER_SECOND, told, servers.authorization)
        except BaseException:
            watcher.abandon()
            raise
        watched = watcher.result()
    printer.say(", ".join(f"{count:,} {what}" for what, count in counted.most_common()))
    printer.say(
        f"{len(watched.requests) + len(watched.token_reads):,} commands watched; {len(watched.token_reads):,} read back with"
        f" their token through {servers.read_api}, {len(watched.stale)} of them older than the token"
    )
    for stale in watched.stale[:_SHOWN_READS]:
        printer.say(f"STALE: {stale}")
    return watched


def _judge(servers: Servers, printer: Printer, watched: Watched, seed: int) -> int:
    refresh(servers.settings, SCHEDULED, printer.say)
    position = servers.log_position()
    seconds = servers.wait_until_covered(_MODELS, position, _COVER_S)
    printer.say(f"the log is quiet at {position}; covered by all read models {seconds * 1e3:.0f} ms later")
    lines = []
    for model in READ_MODELS:
        comparison = compare(servers, model) if model.fan_out is None else compare_feed(servers, model, seed)
        printer.say(f"{model.name}: compared {comparison.rows:,} rows with its SQL")
        for sample in comparison.samples:
            printer.say(f"DIFFERENT: {sample}")
        timing = time_reads(servers, model, seed)
        lines.append(
            Line(name=model.name, comparison=comparison, readable=watched.readable.get(model.name, []), timing=timing)
        )
    printer.result(lines)
    printer.console.print(_notes(watched, lines), markup=False, soft_wrap=True)
    return verdict(lines, watched.stale)


def verdict(lines: list[Line], stale: list[str]) -> int:
    """The exit code: 0 when every read model is equal and no read was older than its token."""
    return 0 if all(line.comparison.equal for line in lines) and not stale else 1


def _notes(watched: Watched, lines: list[Line]) -> str:
    rows = ", ".join(f"{line.timing.rows} of {line.name}" for line in lines)
    return (
        f"commit→readable: from the arrival of the command's reply until Cassandra returns the row, polled, {len(watched.requests)}"
        f" commands under load.\n  The commit happened earlier, at most the request's own time: p50"
        f" {percentile(watched.requests, 50):.1f} ms, p99 {percentile(watched.requests, 99):.1f} ms.\n"
        f"read with a token through the read API, from the command's reply to the read's: p50"
        f" {percentile(watched.token_reads, 50):.1f} ms, p99 {percentile(watched.token_reads, 99):.1f} ms.\n"
        f"read p50: {min(line.timing.keys for line in lines)} to {max(line.timing.keys for line in lines)} random keys, first {PAGE_ROWS} rows (median {rows}); one client each, taking turns, on the"
        " machine that runs the servers."
    )
