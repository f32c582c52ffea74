"""Verify usernames and passwords. bcrypt is slow on purpose, so it is asked in threads, and rarely."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.errors import StorageError, UsageError
from mirrorsync.events import Noticed, Observer
from mirrorsync.secret import Secret
from mirrorsync.serve.htpasswd import cost_of, users_of
from mirrorsync.serve.refusals import Refusal
from mirrorsync.serve.turns import Turns, network_of
from mirrorsync.serve.watched import Watched

_MOST_BYTES: Final = 4 * 1024 * 1024  # of a file: 50,000 users
# How long a login is remembered. A client sends it with each of its hundreds of requests; a wrong one is often that of
# a client that retries.
_RIGHT_SECONDS: Final = 600.0
_WRONG_SECONDS: Final = 10.0
_MOST_REMEMBERED: Final = 4096
_MOST_WAITING: Final = 256
_BCRYPT_BYTES: Final = 72  # htpasswd and CNCF distribution ignore the rest of a password; the package bcrypt rejects it
_DEFAULT_COST: Final = 10
_BUSY: Final = "too many logins of this client are being verified; retry later"


@dataclass(frozen=True, slots=True)
class _Verified:
    """What was found out. hashed: what the password was compared with, None for an unknown user. until: monotonic."""

    right: bool
    hashed: str | None
    until: float


class Logins:
    """The users of an htpasswd file, which is read again when it changes. clock: monotonic seconds.

    Verified logins are remembered by a keyed hash of username and password for ten minutes, but no longer than the
    user's line stays as it is; wrong ones for ten seconds, and never in the place of right ones. The same login of the
    same client is verified once, however often it is sent at the same time. Clients take turns, and so does each login
    that was right before, so that a client with many wrong ones delays and loses only its own.
    remembered: right and wrong logins, each at most. Raises: StorageError or UsageError if the file cannot be used.
    """

    def __init__(
        self, path: Path, observer: Observer, clock: Callable[[], float], remembered: int = _MOST_REMEMBERED
    ) -> None:
        self._file = Watched((path,), lambda: _read(path), lambda users: _reread(path, users), observer)
        if not self._file.current():
            observer(
                Noticed("serve", f"{path} has no users, so that no login is right: htpasswd -B {path} USER adds one")
            )
        self._clock = clock
        self._most = remembered
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, _Verified] = OrderedDict()
        self._wrong: OrderedDict[bytes, _Verified] = OrderedDict()
        self._waiting: dict[tuple[str, bytes], asyncio.Task[bool]] = {}
        # Half of the processors, so that the event loop always has one.
        at_once = max(1, (os.cpu_count() or 1) // 2)
        self._threads = ThreadPoolExecutor(at_once, "login")
        self._turns = Turns(at_once, _MOST_WAITING, _busy)
        self.verified = 0

    async def verify(self, user: str, password: Secret, client: str) -> bool:
        """Return whether a password is that of a user; a wrong user takes as long. client: its IP address.

        Raises: Refusal if too many logins wait, and those of this client are the most.
        """
        text = f"{user}\0{password.reveal()}".encode()
        key = hashlib.blake2b(text, key=self._key, digest_size=32).digest()
        known = self._known(key, user)
        if known is not None and known.until > self._clock():
            return known.right
        # A login that was right has a turn of its own: behind a proxy all clients have one address.
        queue = f"login {key.hex()}" if known is not None and known.right else network_of(client)
        task = self._waiting.get((queue, key))
        if task is None:
            task = asyncio.create_task(self._in_turn(queue, key, user, password))
            self._waiting[queue, key] = task
            task.add_done_callback(lambda ended: self._ended(queue, key, ended))
        return await asyncio.shield(task)  # others wait for it, too

    def _ended(self, queue: str, key: bytes, task: asyncio.Task[bool]) -> None:
        del self._waiting[queue, key]
        if not task.cancelled():
            task.exception()  # if all who waited have hung up, nothing else looks at it, and asyncio would log it

    def _known(self, key: bytes, user: str) -> _Verified | None:
        """Return what is remembered of a login, however old, if the line of its user is still the same."""
        known = self._right.get(key) or self._wrong.get(key)
        return known if known is not None and known.hashed == self._file.current().get(user) else None

    async def _in_turn(self, queue: str, key: bytes, user: str, password: Secret) -> bool:
        async with self._turns.of(queue):
            known = self._known(key, user)
            if known is not None and known.until > self._clock():
                return known.right  # another client with the same login had its turn before
            users = self._file.current()
            hashed = users.get(user)
            loop = asyncio.get_running_loop()
            matches = await loop.run_in_executor(self._threads, _matches, password, hashed or _nobody(users))
            right = matches and hashed is not None
            self.verified += 1
            self._remember(key, _Verified(right, hashed, self._clock() + (_RIGHT_SECONDS if right else _WRONG_SECONDS)))
            return right

    def _remember(self, key: bytes, found: _Verified) -> None:
        table, other = (self._right, self._wrong) if found.right else (self._wrong, self._right)
        other.pop(key, None)
        table[key] = found
        table.move_to_end(key)
        while len(table) > self._most:
            table.popitem(last=False)

    def reload(self) -> None:
        """Read the file again."""
        self._file.reload()

    def close(self) -> None:
        """Verify no more logins."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _busy() -> Refusal:
    return Refusal(429, "TOOMANYREQUESTS", _BUSY, {"Retry-After": "2"})


def _matches(password: Secret, hashed: str) -> bool:
    import bcrypt

    data = password.reveal().encode()
    # A C string ends at a zero byte: bcrypt of other programs has not hashed what is behind it.
    right = bcrypt.checkpw(data.replace(b"\0", b"?")[:_BCRYPT_BYTES], hashed.encode())
    return right and b"\0" not in data


def _nobody(users: Mapping[str, str]) -> str:
    """Return a hash that no password has, and that takes as long as those of the users."""
    cost = max(map(cost_of, users.values()), default=_DEFAULT_COST)
    return f"$2b${cost:02}${'.' * 53}"


def _read(path: Path) -> Mapping[str, str]:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        remedy = f"give this user the right to read it, or create it: htpasswd -B -c {path} USER"
        raise StorageError(f"the users in {path} cannot be read: {reason}", remedy=remedy) from error
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{path} is larger than {_MOST_BYTES} bytes", remedy="name a file of htpasswd")
    try:
        return users_of(data.decode(), str(path))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", remedy="name a file of htpasswd") from error


def _reread(path: Path, users: Mapping[str, str]) -> str:
    return f"{path} was read again: {len(users)} user{'' if len(users) == 1 else 's'}"
