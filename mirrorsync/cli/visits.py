"""Going to one place and back: what the verbs begin with that look at a single reference instead of a spec."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from mirrorsync.cli.options.access import AccessOptions, environment_of
from mirrorsync.cli.output.console import Console
from mirrorsync.cli.sessions import asked
from mirrorsync.environment import Environment
from mirrorsync.oci.reference import Location
from mirrorsync.sync.session import Session

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Visit:
    """How a place is reached; made once, so that a password is asked for once."""

    console: Console
    environment: Environment

    @classmethod
    def to(cls, console: Console, place: Location, access: AccessOptions, retries: int | None) -> Visit:
        """Find out how `place` is reached. Blocks: it may ask for a password. Raises: UsageError."""
        return cls(console, environment_of(console, [(place, access)], os.environ, retries))

    def run(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with a session, and show what happens meanwhile. Raises: Interrupted."""
        return asked(self.console, self.environment, work)
