"""Months of messages on a real Postgres: made once, dropped only when empty, and no message goes unnoticed."""

from __future__ import annotations

import os
import subprocess
import threading
from datetime import UTC, date, datetime

import psycopg
import pytest

from command_api import months
from tests import preloaded
from tests.integration.command_server import until
from tests.integration.test_commands_messages import id_at

TODAY = date(2024, 3, 31)
CHANNEL, USER = "00000000-0000-7000-8000-000000000001", "00000000-0000-7000-8000-000000000002"
INSERT = (
    "insert into messages (message_id, sent_at, channel_id, author_id, body)"
    " values (%s, uuid_extract_timestamp(%s), %s, %s, 'hello')"
)


@pytest.fixture
def admin(database: str):  # type: ignore[no-untyped-def]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("insert into channels values (%s, 'general')", (CHANNEL,))
        connection.execute("insert into users (user_id, name) values (%s, 'Ada')", (USER,))
        for month in list(months.existing(connection)):
            months.drop(connection, month, batch=1)
        yield connection


def send(connection: psycopg.Connection, at: datetime, salt: int) -> None:
    message_id = id_at(at, salt)
    connection.execute(INSERT, (message_id, message_id, CHANNEL, USER))


def test_the_months_at_hand_are_made_once(admin: psycopg.Connection, database: str) -> None:
    kept = months.keep(database, ahead=2, months=None, batch=10, today=TODAY)
    wanted = [date(2024, 2, 1), date(2024, 3, 1), date(2024, 4, 1), date(2024, 5, 1)]
    assert list(kept.made) == wanted == sorted(months.existing(admin))
    assert months.keep(database, ahead=2, months=None, batch=10, today=TODAY).made == ()
    # Their ends meet in UTC, wherever the session is.
    for at in (datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 5, 31, 23, 59, 59, 999000, tzinfo=UTC)):
        send(admin, at, 1)
    for at in (datetime(2024, 1, 31, 23, 59, 59, 999000, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)):
        with pytest.raises(psycopg.errors.CheckViolation, match="no partition"):
            send(admin, at, 1)
    december = months.keep(database, ahead=1, months=None, batch=10, today=date(2024, 12, 1))
    assert december.made == (date(2024, 11, 1), date(2024, 12, 1), date(2025, 1, 1))


def test_old_months_are_emptied_and_dropped(admin: psycopg.Connection, database: str) -> None:
    months.keep(database, ahead=1, months=None, batch=10, today=TODAY)
    for n in range(25):
        send(admin, datetime(2024, 2, 29, 12, tzinfo=UTC), n)
    send(admin, datetime(2024, 4, 1, tzinfo=UTC), 1)
    assert months.keep(database, ahead=1, months=1, batch=10, today=TODAY).dropped == ()
    kept = months.keep(database, ahead=1, months=1, batch=10, today=date(2024, 4, 1))
    assert (kept.dropped, kept.deleted) == ((date(2024, 2, 1),), 25)
    assert admin.execute("select count(*) from messages").fetchone() == (1,)
    assert admin.execute("select to_regclass('months.messages_2024_02')").fetchone() == (None,)


def test_a_message_that_commits_at_the_last_moment_is_deleted_too(admin: psycopg.Connection, database: str) -> None:
    month = date(2024, 2, 1)
    months.create(admin, month)
    send(admin, datetime(2024, 2, 1, tzinfo=UTC), 1)
    deleted: list[int] = []
    with psycopg.connect(database) as late, psycopg.connect(database, autocommit=True) as dropping:
        send(late, datetime(2024, 2, 2, tzinfo=UTC), 2)
        dropping.execute("set lock_timeout = '100ms'")
        thread = threading.Thread(target=lambda: deleted.append(months.drop(dropping, month, batch=10)))
        thread.start()
        until(lambda: admin.execute("select count(*) from messages").fetchone() == (0,))
        # The first is gone, and the second, which nobody sees yet, keeps the month.
        thread.join(0.5)
        assert thread.is_alive()
        late.commit()
        thread.join(30)
    assert deleted == [2]
    assert list(months.existing(admin)) == []


def run(database: str, *options: str) -> subprocess.CompletedProcess[str]:
    return preloaded.run(("command_api", "months", *options), os.environ | {"LOCKSTEP_POSTGRES__ADMIN": database})


def test_the_command_keeps_months_and_says_what_is_wrong(database: str) -> None:
    done = run(database, "--ahead", "12", "--keep", "1")
    assert done.returncode == 0, done.stderr
    with psycopg.connect(database) as connection:
        assert max(months.existing(connection)) == months.month_after(datetime.now(UTC).date(), 12)
    failed = run("host=127.0.0.1 port=1", "--ahead", "1")
    assert failed.returncode == 1
    assert "LOCKSTEP_POSTGRES__ADMIN" in failed.stderr
