"""Options for credentials and host settings: for one location, or with the prefixes src- and dest- for a copy.

The names are skopeo's. A missing password comes from the environment (MIRRORSYNC_PASSWORD, MIRRORSYNC_SRC_PASSWORD,
MIRRORSYNC_DEST_PASSWORD) or from the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial, wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import absolute
from mirrorsync.cli import command
from mirrorsync.cli.completers import complete_directory, complete_file
from mirrorsync.cli.options.passwords import no_password_option, password_of
from mirrorsync.cli.output.console import Console
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.hosts import Access, Credentials, HostSettings
from mirrorsync.oci.names import check_host
from mirrorsync.oci.reference import Location
from mirrorsync.secret import Secret
from mirrorsync.text import printable

R = TypeVar("R")

SOURCE: Final = "src-"
DESTINATION: Final = "dest-"
# skopeo's short names for the credentials of a copy.
_ALIASES: Final = {SOURCE: ("--screds",), DESTINATION: ("--dcreds",)}
_SECTIONS: Final = {"": command.ACCESS, SOURCE: command.SOURCE_ACCESS, DESTINATION: command.DESTINATION_ACCESS}


@dataclass(frozen=True, slots=True)
class AccessOptions:
    """The options for one location. prefix: of their names, such as `src-`.

    creds: the username, and the password if it was given there. All options: None or empty = not given.
    """

    prefix: str = ""
    creds: tuple[str, Secret] | None = None
    username: str | None = None
    no_creds: bool = False
    registry_token: Secret | None = None
    authfile: str | None = None
    tls_verify: bool | None = None
    cert_dir: str | None = None
    realm_host: tuple[str, ...] = ()
    daemon_host: str | None = None

    def option(self, name: str) -> str:
        """Return an option as it is written on the command line."""
        return f"--{self.prefix}{name.replace('_', '-')}"

    def variable(self, name: str) -> str:
        """Return the environment variable that can be set instead of an option."""
        return f"MIRRORSYNC_{self.prefix}{name}".replace("-", "_").upper()

    def filled(self, both: AccessOptions, location: Location) -> AccessOptions:
        """Return the options for one end of a copy. both: those for both ends, used if it has none of its own."""
        names = ("authfile", "tls_verify") if location.transport.is_registry else ("daemon_host",)
        missing = {name: getattr(both, name) for name in names if getattr(self, name) is None}
        return replace(self, **missing)

    def given(self) -> list[str]:
        """Return the options that were given."""
        return [self.option(one.name) for one in fields(self)[1:] if getattr(self, one.name) != one.default]


def _creds(text: str) -> tuple[str, Secret]:
    """Read USER[:PASSWORD], with the password as a Secret."""
    username, _, password = text.partition(":")
    if not username:
        raise click.BadParameter("missing username before ':'")  # click's own message would repeat the value
    return username, Secret(password)


def tls_options(prefix: str = "", parameter: str = "access") -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Add the options for TLS and token services to a command, which gets them as AccessOptions named `parameter`."""
    return _collected(prefix, parameter, _tls(prefix))


def access_options(prefix: str = "", parameter: str = "access") -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Add the options for credentials and TLS to a command, which gets them as AccessOptions named `parameter`."""
    end = {SOURCE: " of the source", DESTINATION: " of the destination"}.get(prefix, "")
    variable = AccessOptions(prefix).variable
    option = partial(command.option, section=_SECTIONS[prefix])
    credentials = {
        "creds": option(
            f"--{prefix}creds", *_ALIASES.get(prefix, ()), _name(prefix, "creds"), type=_creds,
            metavar="USER[:PASSWORD]", help=f"Credentials{end}; leave out PASSWORD to be asked for it, which is safer.",
        ),
        "username": option(
            f"--{prefix}username", metavar="USER",
            help=f"Username; the password comes from {variable('password')} or a prompt.",
        ),
        "no_creds": option(f"--{prefix}no-creds", is_flag=True, help="Send no credentials."),
        "registry_token": option(
            f"--{prefix}registry-token", type=Secret, metavar="TOKEN",
            help=f"Bearer token, sent as it is; also from {variable('registry_token')}.",
        ),
        "authfile": option(
            f"--{prefix}authfile", metavar="FILE", shell_complete=complete_file,
            help="Read logins from this file only.",
        ),
        "daemon_host": option(f"--{prefix}daemon-host", metavar="URL", help="The daemon of docker-daemon:."),
    }  # fmt: skip
    collect = _collected(prefix, parameter, {**credentials, **_tls(prefix)})

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        return no_password_option(prefix)(collect(function))

    return decorate


def both_ends_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add the options for both ends of a copy at once; the command gets them as AccessOptions named `both`."""
    option = partial(command.option, section=command.ACCESS)
    options = {
        "authfile": option(
            "--authfile", metavar="FILE", shell_complete=complete_file, help="Read logins to both from this file only.",
        ),
        "daemon_host": option("--daemon-host", metavar="URL", help="The daemon of docker-daemon:, at either end."),
        "tls_verify": option("--tls-verify", type=bool, metavar="BOOLEAN", hidden=True),
    }  # fmt: skip
    return _collected("", "both", options)(function)


def retry_option(function: Callable[..., R]) -> Callable[..., R]:
    """Add `--retry-times` to a command, which gets `retry_times`, None if it was not given."""
    return command.option(
        "--retry-times", section=command.ACCESS, type=click.IntRange(0, 100), metavar="N",
        help="How often to retry a request (default 4).",
    )(function)  # fmt: skip


def environment_of(
    console: Console,
    locations: Sequence[tuple[Location, AccessOptions]],
    retries: int | None = None,
    variables: Mapping[str, str] | None = None,
) -> Environment:
    """Return the environment of a command, with the options for its locations. Blocks: it may prompt for a password.

    retries: how often a request is retried. variables: environment variables, None = the process's.
    Raises: UsageError for options that contradict each other, or whose files do not exist.
    """
    process = process_environment(variables)
    hosts: dict[str, HostSettings] = {}
    access: dict[str, Access] = {}
    daemon: dict[str, None] = {}
    for location, options in locations:
        if options.daemon_host:
            daemon[options.daemon_host] = None
        if not location.transport.is_registry:
            _report_ignored(console, location, options)
            continue
        chosen = access_of(console, options, location.store, process.variables)
        if chosen != Access():
            key = f"{location.store}/{location.repository}" if location.repository else location.store
            _set_once(access, key, chosen)
        wanted = settings_of(options)
        if wanted != HostSettings():
            _set_once(hosts, location.store, wanted)
    if len(daemon) > 1:
        raise UsageError(
            "source and destination are different daemons, and only one can be used",
            remedy="copy to an archive first, then from it",
        )
    return replace(process, hosts=hosts, access=access, daemon_host=next(iter(daemon), None), retries=retries)


def access_of(console: Console, options: AccessOptions, host: str, environment: Mapping[str, str]) -> Access:
    """Return the credentials, auth file or anonymous access for one host. May prompt. Raises: UsageError."""
    ways = [name for name in ("creds", "username", "no_creds", "registry_token") if getattr(options, name)]
    if len(ways) > 1:
        raise UsageError(f"{options.option(ways[0])} and {options.option(ways[1])} contradict each other")
    if options.no_creds:
        return Access(anonymous=True)
    token = options.registry_token or Secret("" if ways else environment.get(options.variable("registry_token"), ""))
    if token:
        return Access(Credentials(registry_token=_checked_token(token, options)))
    if options.registry_token is not None:
        raise UsageError(f"{options.option('registry_token')} is empty")
    username, password = options.creds or (options.username, Secret(""))
    if username is None:
        return Access(auth_file=_existing_file(options))
    check_username(username)
    if password:
        console.notice(
            f"{options.option('creds')}: a password on the command line can be read by every user of this machine; "
            f"leave it out to be asked for it, or set {options.variable('password')}"
        )
    else:
        password = password_of(username, host, options.variable("password"), environment)
    return Access(Credentials(username, password))


def settings_of(options: AccessOptions) -> HostSettings:
    """Return the host settings of options. Raises: GrammarError, UsageError."""
    changes: dict[str, Any] = {}
    if options.tls_verify is False:
        changes["insecure_skip_verify"] = changes["plain_http_fallback"] = True
    if options.cert_dir is not None:
        directory = absolute(options.cert_dir)
        if not directory.is_dir():
            raise UsageError(f"{options.option('cert_dir')} {printable(options.cert_dir)} is not a directory")
        changes["cert_dir"] = str(directory)
    if options.realm_host:
        changes["realm_hosts"] = tuple(check_host(host) for host in options.realm_host)
    return HostSettings(**changes)


def check_username(username: str) -> None:
    """Reject usernames that cannot be sent (RFC 7617 cannot express a colon). Raises: UsageError."""
    if not username or ":" in username or not username.isprintable():
        raise UsageError(f"{printable(username, 60)!r} is not a username: it must not be empty or contain ':'")


def _name(prefix: str, name: str) -> str:
    return f"{prefix.replace('-', '_')}{name}"


def _tls(prefix: str) -> dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]]:
    option = partial(command.option, section=_SECTIONS[prefix])
    return {
        "tls_verify": option(
            f"--{prefix}tls-verify", type=bool, metavar="BOOLEAN",
            help="false: accept any certificate, and plain HTTP if the host has no TLS.",
        ),
        "cert_dir": option(
            f"--{prefix}cert-dir", metavar="DIR", shell_complete=complete_directory,
            help="Directory of CA certificates (*.crt) and client certificates (NAME.cert, NAME.key).",
        ),
        "realm_host": option(
            f"--{prefix}realm-host", metavar="HOST[:PORT]", multiple=True,
            help="Also send credentials to a token service at this host or port. Repeatable.",
        ),
    }  # fmt: skip


def _collected(
    prefix: str, parameter: str, options: Mapping[str, Callable[[Callable[..., Any]], Callable[..., Any]]]
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        @wraps(function)
        def run(*words: Any, **values: Any) -> R:
            given = {name: values.pop(_name(prefix, name)) for name in options}
            return function(*words, **{parameter: AccessOptions(prefix, **given)}, **values)

        added: Callable[..., R] = run
        for add in reversed(list(options.values())):
            added = add(added)
        return added

    return decorate


def _set_once(known: dict[str, Any], key: str, value: object) -> None:
    if known.setdefault(key, value) != value:
        raise UsageError(f"the options of source and destination contradict each other for {key}")


def _existing_file(options: AccessOptions) -> Path | None:
    if options.authfile is None:
        return None
    path = absolute(options.authfile)
    if not path.exists():
        raise UsageError(
            f"auth file {printable(options.authfile)} does not exist", remedy="`mirrorsync login --authfile` creates it"
        )
    return path


def _checked_token(token: Secret, options: AccessOptions) -> Secret:
    text = token.reveal()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError(f"{options.option('registry_token')} contains characters that a token cannot have")
    return token


def _report_ignored(console: Console, location: Location, options: AccessOptions) -> None:
    """Report options that have no effect. They are not an error, since skopeo accepts them and scripts pass them."""
    ignored = [name for name in options.given() if name != options.option("daemon_host")]
    if ignored:
        console.notice(f"{', '.join(ignored)}: ignored, since {location} is not a registry")
