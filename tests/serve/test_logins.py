"""Logins are verified in threads, once for many clients, and remembered for a while, but never against the file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from mirrorsync.errors import StorageError, UsageError
from mirrorsync.events import Event, Noticed
from mirrorsync.secret import Secret
from mirrorsync.serve.logins import Logins
from mirrorsync.serve.refusals import Refusal
from mirrorsync.serve.turns import network_of
from tests.serve.secured import hashed

THREADS = max(1, (os.cpu_count() or 1) // 2)  # logins that are compared at a time


class Users:
    """A file of users, and the logins that are verified with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 1000.0
        self.events: list[Event] = []
        path.write_text(hashed("one", "right"))
        self.logins = Logins(path, self.events.append, lambda: self.now, remembered=50)

    async def __call__(self, user: str, password: str, client: str = "192.0.2.1") -> bool:
        """Return whether a login is right."""
        return await self.logins.verify(user, Secret(password), client)

    def flood(self, client: str, count: int = 300) -> list[asyncio.Task[bool]]:
        """Send wrong logins, each another one."""
        return [asyncio.create_task(self("one", f"{client} {number}", client)) for number in range(count)]

    def notices(self) -> list[str]:
        """Return the notices so far."""
        return [event.message for event in self.events if isinstance(event, Noticed)]


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return Users(tmp_path / "users")


def test_only_the_password_of_the_user_is_right(users: Users) -> None:
    async def check() -> None:
        assert await users("one", "right")
        for user, password in (("one", "wrong"), ("one", ""), ("two", "right"), ("One", "right"), ("one", "right\0")):
            assert not await users(user, password)

    asyncio.run(check())


def test_a_password_is_cut_at_72_bytes_as_htpasswd_does(users: Users) -> None:
    async def check() -> None:
        long = "ä" * 40
        users.path.write_text(hashed("one", long))
        assert await users("one", long)
        assert await users("one", long[:36] + "other")
        assert not await users("one", long[:35])

    asyncio.run(check())


def test_an_unknown_user_costs_a_comparison_too(users: Users) -> None:
    async def check() -> None:
        for number, user in enumerate(("one", "nobody", "nobody else"), 1):
            assert not await users(user, "wrong")
            assert users.logins.verified == number

    asyncio.run(check())


def test_two_hundred_clients_with_one_login_cost_one_comparison(users: Users) -> None:
    async def check() -> None:
        assert all(await asyncio.gather(*(users("one", "right") for _ in range(200))))
        assert await users("one", "right")
        assert users.logins.verified == 1

    asyncio.run(check())


def test_a_client_that_hangs_up_does_not_end_the_comparison_for_others(users: Users) -> None:
    async def check() -> None:
        gone = asyncio.create_task(users("one", "right"))
        stays = asyncio.create_task(users("one", "right"))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays
        with suppress(asyncio.CancelledError):
            await gone
        assert users.logins.verified == 1

    asyncio.run(check())


@pytest.mark.parametrize(("password", "seconds"), [("right", 600), ("wrong", 10)])
def test_a_login_is_remembered_for_a_while(users: Users, password: str, seconds: int) -> None:
    async def check() -> None:
        for later, comparisons in ((0, 1), (seconds - 1, 1), (2, 2)):
            users.now += later
            assert await users("one", password) == (password == "right")
            assert users.logins.verified == comparisons

    asyncio.run(check())


def test_a_changed_file_counts_at_once_also_for_remembered_logins(users: Users) -> None:
    async def check() -> None:
        assert await users("one", "right")
        assert not await users("two", "2")
        users.path.write_text(hashed("one", "new") + hashed("two", "2"))
        assert not await users("one", "right")
        assert await users("one", "new")
        assert await users("two", "2")
        users.path.write_text(hashed("two", "2"))
        assert not await users("one", "new")
        assert await users("two", "2")
        assert users.notices() == [f"{users.path} was read again: {many}" for many in ("2 users", "1 user")]

    asyncio.run(check())


def test_a_file_that_is_damaged_or_removed_leaves_the_users_as_they_were(users: Users) -> None:
    async def check() -> None:
        users.path.write_text("one:plain\n")
        assert await users("one", "right")
        assert await users("one", "right")
        users.path.unlink()
        assert await users("one", "right")
        damaged, removed = users.notices()
        assert "has no bcrypt hash" in damaged
        assert "cannot be read" in removed
        assert "plain" not in damaged

    asyncio.run(check())


def test_too_many_logins_at_once_are_refused_and_not_queued(users: Users) -> None:
    async def check() -> None:
        found = await asyncio.gather(*(users("one", f"wrong {n}") for n in range(300)), return_exceptions=True)
        refused = [one for one in found if isinstance(one, Refusal)]
        assert len(refused) == 300 - 256 - THREADS
        assert {one.status for one in refused} == {429}
        assert found.count(False) == 256 + THREADS
        assert await users("one", "right")

    asyncio.run(check())


def refusals(found: Sequence[object]) -> list[int]:
    """Return the numbers of those that were refused because too many waited."""
    return [number for number, one in enumerate(found) if isinstance(one, Refusal) and one.status == 429]


def test_a_client_that_sends_many_wrong_logins_does_not_lock_out_or_delay_the_others(users: Users) -> None:
    async def check() -> None:
        flood = users.flood("198.51.100.7")
        await asyncio.sleep(0)
        others = [users("one", "right", f"192.0.2.{number}") for number in range(20)]
        assert all(await asyncio.gather(*others))
        assert users.logins.verified < 20  # of the flood only those that had turns between
        found = await asyncio.gather(*flood, return_exceptions=True)
        assert found.count(False) + len(refusals(found)) == 300
        # Those that were queued last made room; the first ones were compared.
        assert refusals(found) == list(range(300 - len(refusals(found)), 300))

    asyncio.run(check())


def test_a_login_that_was_right_is_verified_in_time_behind_the_same_address_as_a_flood(users: Users) -> None:
    async def check() -> None:
        assert await users("one", "right")
        users.now += 601
        flood = users.flood("192.0.2.1")
        await asyncio.sleep(0)
        assert await users("one", "right")
        assert users.logins.verified < 20
        await asyncio.gather(*flood, return_exceptions=True)
        # Nor is it forgotten for more wrong ones than are remembered.
        before = users.logins.verified
        await asyncio.gather(*users.flood("203.0.113.1", 60))
        assert await users("one", "right")
        assert users.logins.verified == before + 60

    asyncio.run(check())


def test_the_same_login_of_many_clients_is_compared_once_for_each_thread_at_most(users: Users) -> None:
    async def check() -> None:
        assert all(await asyncio.gather(*(users("one", "right", f"192.0.2.{n}") for n in range(100))))
        assert users.logins.verified <= THREADS

    asyncio.run(check())


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_what_counts_as_one_client(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_file_that_cannot_be_used_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file"):
        Logins(tmp_path / "none", lambda _: None, lambda: 0.0)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        Logins(tmp_path / "binary", lambda _: None, lambda: 0.0)


def test_a_file_without_users_is_a_notice(tmp_path: Path) -> None:
    events: list[Event] = []
    (tmp_path / "users").write_text("# nobody yet\n")
    Logins(tmp_path / "users", events.append, lambda: 0.0).close()
    (notice,) = events
    assert isinstance(notice, Noticed)
    assert "has no users, so that no login is right" in notice.message
