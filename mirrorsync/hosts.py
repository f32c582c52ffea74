"""Host settings, credentials and access: values, independent of where they are read from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.secret import Secret

_NONE: Final = Secret("")


@dataclass(frozen=True, slots=True)
class PullLimit:
    """How far the limit that a registry has for pulls may be used. keep: how many pulls are to remain."""

    keep: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Another address at which content of a registry can be read. prefix: of its repositories there, "" without one.

    tags: whether it is asked which tags exist, and what they name, too; it is believed then.
    """

    host: str
    prefix: str = ""
    tags: bool = False

    def __str__(self) -> str:
        return f"{self.host}/{self.prefix}" if self.prefix else self.host


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How to talk to one registry. Paths are absolute; max_connections is per run and host.

    cert_dir: a directory of certificates in the format of containers-certs.d(5). realm_hosts: `host` or `host:port` of
    token services that may get its credentials, in addition to one at the registry's own host and port.
    answer_seconds: the longest wait for the beginning of an answer. min_bytes_per_second: the lowest rate of a
    transfer, measured over stall_seconds. create_repository: whether a push may create a missing project by the
    registry's own API (Harbor). requests_per_second: to its API and its token service, None = any number. bandwidth:
    bytes of bodies per second, in both directions and of all transfers together, None = as the line allows. endpoints:
    where its content is read first, in order. pulls: how its limit of pulls is respected, None = not at all.

    insecure_skip_verify accepts any certificate, but still requires TLS. With plain_http_fallback too, a host without
    TLS is accessed over plain HTTP, passwords included: `--tls-verify=false` means this, for one command. A spec has no
    such key: an attacker who breaks TLS on the way would get the passwords of all later runs.
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
    requests_per_second: int | None = None
    bandwidth: int | None = None
    endpoints: tuple[Endpoint, ...] = ()
    pulls: PullLimit | None = None


@dataclass(frozen=True, slots=True)
class Pulls:
    """The pulls of one host in a run (manifests that were read there), and what the host says about its limit.

    remaining, limit: None if it said nothing. window: the seconds that the limit is for. source: the account or address
    that the host counts them for, "" if it did not say.
    """

    used: int = 0
    remaining: int | None = None
    limit: int | None = None
    window: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A username and password, or an identity token that the token service accepts instead.

    registry_token: a token that the registry itself accepts, without a token service.
    """

    username: str = ""
    password: Secret = _NONE
    identity_token: Secret = _NONE
    registry_token: Secret = _NONE


@dataclass(frozen=True, slots=True)
class LoginTrouble:
    """Why a login may be missing: reported when the registry requires one. message: "" if the remedy says it all."""

    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Access:
    """The command line's access options for one host; they override the spec and all auth files.

    credentials: given directly. auth_file: the only file to look into. anonymous: send no credentials. Without any of
    the three, credentials are found as usual.
    """

    credentials: Credentials | None = None
    auth_file: Path | None = None
    anonymous: bool = False
