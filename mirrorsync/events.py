"""Events that a run reports while it works, for progress and logs.

Events are values; an observer is any callable that takes one. It is called from the event loop and from worker
threads, so it must be thread-safe, quick, and must not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["list", "resolve", "observe", "manifests", "deltas", "apply"]


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A phase of the run begins; total: its number of items (repositories, tags, images, steps)."""

    phase: Phase
    total: int


@dataclass(frozen=True, slots=True)
class PhaseAdvanced:
    """One more item of a phase is done."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class TransferPlanned:
    """All that the run will copy, reported before the first byte is read.

    size: bytes to read from sources. images: number of images to complete, at all destinations together.
    """

    size: int
    images: int


@dataclass(frozen=True, slots=True)
class ReadPlanned:
    """All blobs that a verification will read where they are stored, reported before the first is read."""

    blobs: int
    size: int


@dataclass(frozen=True, slots=True)
class BlobStarted:
    """The transfer of a blob begins.

    size: in bytes. source: the repository it is read from. image: one of the images that need it, "" if unknown.
    """

    digest: str
    size: int
    source: str
    image: str = ""


@dataclass(frozen=True, slots=True)
class BytesMoved:
    """`size` more bytes of a blob were read (negative if its transfer starts again from the beginning)."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class BlobEnded:
    """The transfer of a blob is over, finished or failed."""

    digest: str


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step failed; the steps that depend on it are skipped."""

    step: str
    error: Exception


@dataclass(frozen=True, slots=True)
class TagSet:
    """An image is complete at a destination, under its tag (or digest)."""

    image: str
    digest: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """A tag or manifest was deleted. by_digest: the manifest was deleted, with all its tags."""

    image: str
    digest: str
    by_digest: bool


@dataclass(frozen=True, slots=True)
class Retrying:
    """A request or a blob is retried after `delay` seconds."""

    what: str
    attempt: int
    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class Noticed:
    """A notice for the operator, not an error: a registry's Warning header, a skipped foreign layer."""

    where: str
    message: str


@dataclass(frozen=True, slots=True)
class Served:
    """Our own registry answered a request.

    client: the address of the other end of the connection, which can be a proxy. received, sent: bytes of the bodies of
    request and answer; an answer that broke off has sent fewer than its Content-Length. seconds: from the head of the
    request to the last byte of the answer. user: the one who has logged in, "" without a login.
    """

    client: str
    method: str
    path: str
    status: int
    received: int
    sent: int
    seconds: float
    user: str = ""


Event = (
    PhaseStarted
    | PhaseAdvanced
    | TransferPlanned
    | ReadPlanned
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
    """Ignore an event: the observer for callers that do not need events."""
