"""Who asks a registry: values, without a word about where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.secret import Secret

_NONE: Final = Secret("")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A username and password, or an identity token that the token service takes instead.

    registry_token: a token that the registry itself takes; with it no token service is asked.
    """

    username: str = ""
    password: Secret = _NONE
    identity_token: Secret = _NONE
    registry_token: Secret = _NONE


@dataclass(frozen=True, slots=True)
class Access:
    """What the command line says about who asks at one place; it comes before the spec and all files.

    credentials: those that were given. auth_file: the only file to look into. anonymous: ask without credentials. With
    none of the three, credentials are found as if nothing had been said.
    """

    credentials: Credentials | None = None
    auth_file: Path | None = None
    anonymous: bool = False
