"""How a host is talked to, and with which credentials: values, from a spec, from options or from a program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.secret import Secret

_NONE: Final = Secret("")


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How to talk to one registry. Paths are absolute; max_connections is per run and host.

    cert_dir: a directory of certificates as containers-certs.d(5) has them. realm_hosts: `host` or `host:port` of token
    services that may get its credentials besides one at the registry's own host and port. answer_seconds: how long an
    answer may take to begin. min_bytes_per_second: what has to move at least, counted over stall_seconds.
    create_repository: whether what a push needs may be made by the registry's own API: a project of Harbor.

    insecure_skip_verify takes any certificate, and still wants TLS. With plain_http_fallback beside it, a host without
    TLS is spoken to in plain HTTP, passwords too: that is what `--tls-verify=false` says for one command. A spec has no
    such key: an attacker who breaks TLS on the way would get the passwords of every run to come.
    """

    username: str | None = None
    password: Secret | None = None
    password_file: str | None = None
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    cert_dir: str | None = None
    insecure_skip_verify: bool = False
    plain_http: bool = False
    plain_http_fallback: bool = False
    max_connections: int | None = None
    realm_hosts: tuple[str, ...] = ()
    answer_seconds: int = 900
    stall_seconds: int = 60
    min_bytes_per_second: int = 1024
    create_repository: bool = False


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
