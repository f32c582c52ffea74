"""Going to one place and back: what the verbs begin with that look at a single reference instead of a spec."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from mirrorsync.cli.access import AccessOptions, Reach, reach
from mirrorsync.cli.console import Console
from mirrorsync.cli.sessions import opened
from mirrorsync.cli.stop import Stop
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.spec.model import Spec
from mirrorsync.sync.session import Session

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Visit:
    """How a place is reached; made once, so that a password is asked for once. retries: None = as often as usual."""

    console: Console
    ways: Reach
    retries: int | None = None

    @classmethod
    def to(cls, console: Console, place: Location, access: AccessOptions, retries: int | None) -> Visit:
        """Find out how `place` is reached. Blocks: it may ask for a password. Raises: UsageError."""
        return cls(console, reach(console, [(place, access)], os.environ), retries)

    def run(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with a session, and show what happens meanwhile. Raises: Interrupted."""
        stop = Stop(self.console.say)
        spec = Spec("", Digest.of(b""), (), registries=self.ways.registries)
        with self.console.watching() as observer:

            async def inside() -> T:
                async with opened(spec, stop, observer, self.ways, self.retries) as session:
                    return await stop.unless(work(session))

            return stop.run(inside)
