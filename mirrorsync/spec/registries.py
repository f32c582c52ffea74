"""`registries:`: the settings of each host, the logins of its parts, and checks that they fit together."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from mirrorsync.errors import GrammarError
from mirrorsync.hosts import Endpoint, HostSettings, PullLimit
from mirrorsync.oci.names import check_host, is_repository
from mirrorsync.secret import Secret
from mirrorsync.sizes import size
from mirrorsync.spec.model import Destination
from mirrorsync.spec.yaml_source import join
from mirrorsync.text import printable

_LOGIN: Final = ("username", "password", "password_file")
_PATHS: Final = ("password_file", "ca_file", "client_cert", "client_key", "cert_dir")
# Bytes per second: with less, some servers take the transfers that share it for dead.
_LEAST_BANDWIDTH: Final = 64 * 1024
# Settings that have no effect together with another one: a setting that would be ignored is rejected.
_WITHOUT_EFFECT: Final = (
    (
        "plain_http",
        ("insecure_skip_verify", "ca_file", "client_cert", "client_key", "cert_dir"),
        "plain_http uses no TLS",
    ),
    ("insecure_skip_verify", ("ca_file",), "insecure_skip_verify accepts any certificate"),
)


class AddProblem(Protocol):
    """Adds a problem at a pointer; at_key: at the key itself and not at its value."""

    def __call__(self, pointer: str, message: str, remedy: str = "", *, at_key: bool = False) -> None:
        """Add it."""


def read_registries(value: Mapping[str, Mapping[str, Any]], base: str, problem: AddProblem) -> dict[str, HostSettings]:
    """Read the settings of each host, and the logins of its parts; each has one canonical spelling (`registry_key`).

    base: where relative paths start from.
    """
    settings: dict[str, HostSettings] = {}
    for written, members in value.items():
        # The text before an '@' may be a password.
        pointer = join("/registries", written) if "@" not in written else "/registries"
        try:
            key = registry_key(written)
        except GrammarError as error:
            problem(pointer, error.message, error.remedy, at_key=True)
            continue
        if key in settings:
            problem(
                pointer, f"{key} already has settings, under another spelling", "merge the two entries", at_key=True
            )
        _check(pointer, members, problem)
        if "/" in key:
            _check_namespace(pointer, key, members, problem)
        _check_endpoints(pointer, key, members, problem)
        settings[key] = _settings(pointer, members, base, problem)
    return settings


def registry_key(written: str) -> str:
    """Return the canonical spelling of a key: a host, or host/namespace for the login of a part of a registry.

    Raises: GrammarError.
    """
    host, slash, namespace = written.partition("/")
    try:
        host = check_host(host)
    except GrammarError:
        return check_host(written)  # words what is wrong with all of it
    if slash and not is_repository(namespace):
        raise GrammarError(
            f"{printable(written)!r} is neither a host nor a part of a registry",
            remedy="write host or host/namespace, in lower case and without a pattern",
        )
    return f"{host}/{namespace}" if slash else host


def _settings(pointer: str, members: Mapping[str, Any], base: str, problem: AddProblem) -> HostSettings:
    made: dict[str, Any] = dict(members)
    if "password" in made:
        made["password"] = Secret(made["password"])
    if "pulls" in made:
        made["pulls"] = PullLimit(**made["pulls"])
    made["realm_hosts"] = tuple(realm.lower() for realm in made.get("realm_hosts", ()))
    for key in _PATHS:
        if key in made:
            made[key] = posixpath.normpath(posixpath.join(base, made[key]))
    if "bandwidth" in made:
        made["bandwidth"] = _bandwidth(join(pointer, "bandwidth"), made["bandwidth"], problem)
    made["endpoints"] = tuple(one for _, one in _endpoints(pointer, members, problem))
    return HostSettings(**made)


def _endpoints(pointer: str, members: Mapping[str, Any], problem: AddProblem) -> Iterator[tuple[str, Endpoint]]:
    """Yield the endpoints of a registry, each with its pointer; those with mistakes are reported and left out."""
    for number, written in enumerate(members.get("endpoints", ())):
        at = join(join(pointer, "endpoints"), number)
        location, tags = (written, False) if isinstance(written, str) else (written["location"], written.get("tags"))
        try:
            host, _, prefix = registry_key(location).partition("/")
        except GrammarError as error:
            problem(at, error.message, error.remedy)
        else:
            yield at, Endpoint(host, prefix, bool(tags))


def _check_endpoints(pointer: str, key: str, members: Mapping[str, Any], problem: AddProblem) -> None:
    seen = {key}
    for at, endpoint in _endpoints(pointer, members, lambda *_, **__: None):
        if str(endpoint) in seen:
            message = (
                "the registry itself is asked last, and need not be named"
                if str(endpoint) == key
                else "this endpoint is listed twice"
            )
            problem(at, message, "remove it")
        seen.add(str(endpoint))


def check_destinations(
    destinations: Mapping[str, Destination], registries: Mapping[str, HostSettings], problem: AddProblem
) -> None:
    """Check that no destination has endpoints: only the registry itself knows its content, and what may be deleted."""
    for name, destination in destinations.items():
        host = destination.location.store
        if host in registries and registries[host].endpoints:
            message = f"{host} has endpoints, which are for sources: a destination is only read where it is written"
            problem(join("/destinations", name), message, f"remove endpoints: of {host}")


def _bandwidth(pointer: str, text: str, problem: AddProblem) -> int:
    try:
        per_second = size(text)
    except GrammarError as error:
        problem(pointer, error.message, error.remedy)
        return _LEAST_BANDWIDTH
    if per_second < _LEAST_BANDWIDTH:
        problem(pointer, "this is less than transfers need to go on", "write 64KiB or more")
    return per_second


def _check_namespace(pointer: str, key: str, members: Mapping[str, Any], problem: AddProblem) -> None:
    """Check that a part of a registry has a login, and nothing else: connections are those of the whole host."""
    host = key.partition("/")[0]
    for other in members:
        if other not in _LOGIN:
            problem(
                join(pointer, other), f"{key} is a part of a registry, which has only a login", f"set it for {host}"
            )
    if not any(one in members for one in _LOGIN):
        problem(pointer, "a part of a registry has no settings but its login", "add username: and password:")


def _check(pointer: str, members: Mapping[str, Any], problem: AddProblem) -> None:
    secrets = [key for key in ("password", "password_file") if key in members]
    if len(secrets) == 2:
        problem(join(pointer, "password_file"), "password is set too", "set only one of the two")
    if secrets and "username" not in members:
        problem(join(pointer, secrets[0]), "missing username", "add username:")
    if "username" in members and not secrets:
        problem(join(pointer, "username"), "missing password", "add password: or password_file:")
    if "client_key" in members and "client_cert" not in members:
        problem(join(pointer, "client_key"), "missing client_cert", "add client_cert:")
    for word, others, why in _WITHOUT_EFFECT:
        for other in others:
            if members.get(word) and members.get(other):
                problem(join(pointer, other), f"this has no effect: {why}", "remove one of them")
    for number, realm in enumerate(members.get("realm_hosts", ())):
        try:
            check_host(realm)
        except GrammarError as error:
            problem(join(join(pointer, "realm_hosts"), number), error.message, error.remedy)
