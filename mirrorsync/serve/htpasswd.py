"""Users with bcrypt hashes, as `htpasswd -B` writes them and CNCF distribution reads them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mirrorsync.errors import UsageError
from mirrorsync.text import printable

# The salt is 16 bytes: its last letter has two bits, and the package bcrypt rejects others.
_BCRYPT: Final = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
# Each step doubles the time of a login: 5 (htpasswd's default) takes 2 ms, 12 a quarter of a second, 16 four seconds.
_COSTS: Final = range(4, 17)
# The beginnings of what other hash kinds look like (httpd, "Password Formats"; crypt(5)).
_OTHERS: Final[Mapping[str, str]] = {
    "$apr1$": "MD5, htpasswd's default",
    "$1$": "MD5",
    "$5$": "SHA-256",
    "$6$": "SHA-512",
    "$y$": "yescrypt",
    "$argon2": "Argon2",
    "{SHA}": "SHA-1",
    "{SSHA}": "SHA-1",
}


def users_of(text: str, where: str) -> dict[str, str]:
    """Return the bcrypt hash of each user. where: the file, for messages. Raises: UsageError, without any hash."""
    users: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        user, colon, hashed = entry.partition(":")
        if not user or not colon:
            raise _wrong(where, number, "is not USER:HASH", "htpasswd -B FILE USER writes it")
        again = f"htpasswd -B {where} {printable(user)}"
        if user in users:
            raise _wrong(where, number, f"is the second one of user {printable(user)}", "delete one of them")
        found = _BCRYPT.fullmatch(hashed)
        if found is None:
            raise _wrong(where, number, f"of user {printable(user)} has {_kind(hashed)}", f"write bcrypt: {again}")
        if int(found[1]) not in _COSTS:
            why = f"of user {printable(user)} has a bcrypt cost of {int(found[1])}; the limits are 4 and {_COSTS[-1]}"
            raise _wrong(where, number, why, f"write another one: {again}")
        users[user] = hashed
    return users


def cost_of(hashed: str) -> int:
    """Return the cost of a bcrypt hash."""
    return int(hashed.split("$")[2])


def _kind(hashed: str) -> str:
    kind = next((name for start, name in _OTHERS.items() if hashed.startswith(start)), None)
    return f"a hash of another kind ({kind})" if kind else "no bcrypt hash"


def _wrong(where: str, number: int, why: str, remedy: str) -> UsageError:
    return UsageError(f"line {number} of {where} {why}", remedy=remedy)
