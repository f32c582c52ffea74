"""Ask every registry of a spec one question, with its login."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
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
    """What a host answered. sides: what the spec uses it for. answer: for people, "" if it failed."""

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
    repositories = _repositories(spec)
    sides = {host: tuple(known) for host, known in repositories.items()}
    tasks = [
        _ask(host, sides[host], list(known.values())[-1], environment, find) for host, known in repositories.items()
    ]
    return tuple(await asyncio.gather(*tasks))


def _repositories(spec: Spec) -> dict[str, dict[Side, str]]:
    """Return the registries of a spec, with a repository for each side: a login can be that of a namespace."""
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
                found.setdefault(location.store, {}).setdefault(side, location.repository)
    return found


async def _ask(
    host: str, sides: tuple[Side, ...], repository: str, environment: Environment, find: CredentialFinder
) -> HostAnswer:
    from mirrorsync.stores.registry import probe

    try:
        credentials = await asyncio.to_thread(find, host, repository)
        found = await probe(host, credentials, environment)
        if found == "anonymous" and "destination" in sides:
            trouble = next(iter(find.troubles(host)), None)
            reason = f": {trouble.message}" if trouble and trouble.message else ""
            raise Unauthorized(f"{host}: it requires a login to write, and none was found{reason}")
    except MirrorsyncError as error:
        return HostAnswer(host, sides, error=error)
    return HostAnswer(host, sides, _ANSWERS[found])
