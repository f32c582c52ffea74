"""Facts that the engine announces while it works; whoever shows progress listens.

Events are values; an observer is any callable that takes one. It is called from the event loop and from worker
threads, so it must be thread-safe, quick, and must not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["resolve", "observe", "apply"]


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A part of the run begins; total: how many items it has (tags, images, steps)."""

    phase: Phase
    total: int


@dataclass(frozen=True, slots=True)
class PhaseAdvanced:
    """One more item of a phase is done."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class TransferPlanned:
    """All bytes that the run is going to read from sources, before the first is read."""

    size: int


@dataclass(frozen=True, slots=True)
class BlobStarted:
    """A blob's bytes begin to move; size in bytes."""

    digest: str
    size: int
    source: str


@dataclass(frozen=True, slots=True)
class BytesMoved:
    """So many more bytes of a blob were read (negative when a copy starts again from nothing)."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class BlobEnded:
    """A blob's copy is over, well or not."""

    digest: str


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step could not be done; what depends on it is skipped."""

    step: str
    error: Exception


@dataclass(frozen=True, slots=True)
class TagSet:
    """An image is complete at a destination and its tag (or digest) stands there."""

    image: str
    digest: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """A tag or manifest is gone. by_digest: the manifest went, with every tag that it had."""

    image: str
    digest: str
    by_digest: bool


@dataclass(frozen=True, slots=True)
class Retrying:
    """A request or a blob is tried again after `delay` seconds."""

    what: str
    attempt: int
    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class Noticed:
    """Something the operator should know that stops nothing: a registry's Warning header, a skipped foreign layer."""

    where: str
    message: str


@dataclass(frozen=True, slots=True)
class Served:
    """Our own registry answered a request."""

    method: str
    path: str
    status: int


Event = (
    PhaseStarted
    | PhaseAdvanced
    | TransferPlanned
    | BlobStarted
    | BytesMoved
    | BlobEnded
    | StepFailed
    | TagSet
    | Deleted
    | Retrying
    | Noticed
    | Served
)
Observer = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Take an event and do nothing: the observer of those who want none."""
