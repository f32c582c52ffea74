"""Ask every registry of a spec one question, with its login."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mirrorsync.app.loops import raise_one
from mirrorsync.app.process import process_environment
from mirrorsync.app.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.errors import MirrorsyncError, Side, Unauthorized
from mirrorsync.oci.reference import Location
from mirrorsync.spec.model import Spec

if TYPE_CHECKING:
    from mirrorsync.credentials import CredentialFinder

# A question is not retried: this is a check for people, who can ask again, and not a run at night.
_RETRIES: Final = 0
_ANSWERS: Final = {
    "accepted": "the login is accepted",
    "anonymous": "it answers; no login is stored",
    "not needed": "it answers; it requires no login",
}


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What a host answered. host: with the namespace, if its login is one of the spec for a part of it. sides: what the
    spec uses it for. answer: for people, "" if it failed.
    """

    host: str
    sides: tuple[Side, ...]
    answer: str = ""
    error: MirrorsyncError | None = None


async def check_hosts(
    spec: Spec, *, environment: Environment | None = None, stop: Stop | None = None
) -> tuple[HostAnswer, ...]:
    """Return what each registry of a spec answers, sources first. Nothing is read or written in any repository.

    environment: None = the process's. Raises: Interrupted.
    """
    given, stop = environment or process_environment(), stop or Stop()
    clock = replace(given.clock, sleep=stop.sleep, asleep=stop.asleep)
    hosts = {**given.hosts, **spec.registries}
    settings = replace(given, hosts=hosts, clock=clock, retries=_RETRIES if given.retries is None else given.retries)
    try:
        async with stop.listening():
            return await stop.interruptible(_ask_all(spec, settings))
    except BaseExceptionGroup as group:
        raise_one(group)


async def _ask_all(spec: Spec, environment: Environment) -> tuple[HostAnswer, ...]:
    from mirrorsync.credentials import CredentialFinder  # imported here: a check without hosts needs no HTTP

    find = CredentialFinder(environment)
    repositories = _repositories(spec, environment)
    sides = {key: tuple(known) for key, known in repositories.items()}
    tasks = [_ask(key, sides[key], list(known.values())[-1], environment, find) for key, known in repositories.items()]
    return tuple(await asyncio.gather(*tasks))


def _repositories(spec: Spec, environment: Environment) -> dict[str, dict[Side, str]]:
    """Return the registries of a spec, and the parts with a login of their own, with a repository for each side.

    A login in a file can be that of a namespace, too.
    """
    found: dict[str, dict[Side, str]] = {}
    targets = (
        mirror.target(destination, mirror.source.repository) if mirror.namespace is None else destination.location
        for mirror in spec.mirrors
        for destination in mirror.destinations
    )
    pairs: tuple[tuple[Side, Iterable[Location]], ...] = (
        ("source", (mirror.source for mirror in spec.mirrors)),
        ("destination", targets),
    )
    for side, locations in pairs:
        for location in locations:
            if location.transport.is_registry:
                for host, repository in _addresses(location, environment):
                    found.setdefault(environment.account(host, repository), {}).setdefault(side, repository)
    return found


def _addresses(location: Location, environment: Environment) -> Iterator[tuple[str, str]]:
    """Yield the host and the repository of a location, and then of each of its endpoints."""
    yield location.store, location.repository
    for endpoint in environment.settings(location.store).endpoints:
        yield endpoint.host, f"{endpoint.prefix}/{location.repository}".removeprefix("/")


async def _ask(
    key: str, sides: tuple[Side, ...], repository: str, environment: Environment, find: CredentialFinder
) -> HostAnswer:
    from mirrorsync.stores.registry import probe

    host = key.partition("/")[0]
    try:
        credentials = await asyncio.to_thread(find, host, repository)
        found = await probe(host, credentials, environment)
        if found == "anonymous" and "destination" in sides:
            trouble = next(iter(find.troubles(host)), None)
            reason = f": {trouble.message}" if trouble and trouble.message else ""
            raise Unauthorized(f"{host}: it requires a login to write, and no login was found{reason}")
    except MirrorsyncError as error:
        return HostAnswer(key, sides, error=error)
    return HostAnswer(key, sides, _ANSWERS[found])
