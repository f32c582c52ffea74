"""A verification as values: what is verified, how much of it is read, and what was found. No I/O."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from mirrorsync.errors import ExitCode
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.plan.model import Amount, Failure, Image, Origin, SpecStamp

T = TypeVar("T")


class Health(StrEnum):
    """The health of an image, or of one piece of content."""

    COMPLETE = "complete"
    MISSING = "missing"  # the image, or content that it needs, is not present
    DAMAGED = "damaged"  # content does not match its digest or size
    BEHIND = "behind"  # content is intact, but the source names another image now
    UNCHECKED = "unchecked"  # a request failed; the failures say why


class Trust(StrEnum):
    """What the signatures of an image prove."""

    PROVEN = "proven"
    UNPROVEN = "unproven"  # it has to be proven, and is not
    EXCEPTED = "excepted"  # not proven, and need not be now: an exception, or a dry run
    UNVERIFIED = "unverified"  # it has signatures, and no key or identity to verify them with
    UNSIGNED = "unsigned"  # it has no signatures, and need not have any


@dataclass(frozen=True, slots=True)
class Trusted:
    """What the signatures of an image prove, and the fact that proves it, is missing, or excuses it."""

    state: Trust
    fact: str


@dataclass(frozen=True, slots=True)
class Depth:
    """How much content is read; the presence and the size of everything are checked in any case.

    content: True for all blobs, False for no blobs, None for those of stores on this machine. percent: of all blobs,
    chosen at random by `seed`; then `content` does not count. Manifests are always read.
    """

    content: bool | None = None
    percent: float | None = None
    seed: int = 0

    def reads(self, *, on_this_machine: bool) -> bool:
        """Return whether blobs of a store are read, or some of them."""
        return self.percent is not None or (on_this_machine if self.content is None else self.content)

    def sample(self, blobs: Sequence[T]) -> Sequence[T]:
        """Return the blobs that are read, in the same order; of `percent` at least one, the same for the same seed."""
        if self.percent is None or not blobs:
            return blobs
        number = min(len(blobs), math.ceil(len(blobs) * self.percent / 100))
        chosen = random.Random(self.seed).sample(range(len(blobs)), number)  # noqa: S311 - no secret
        return [blobs[position] for position in sorted(chosen)]


@dataclass(frozen=True, slots=True)
class Subject:
    """An image that is to be verified.

    root: as its store names it, None if the store has to be asked. wanted: the image that a spec wants there, as the
    source names it now; None without a spec, or if the source did not answer. mirror: the entry of the spec.
    source_lacks: whether the source answered that it has no such image, so that the destination need not have it.
    origin: the image at its source, if only its names are known. only: the platforms of a sparse index, whose other
    images need not be there; () for all. foreign: whether its layers that may not be distributed have to be there.
    """

    target: Location
    ref: Ref
    root: Descriptor | None = None
    wanted: Image | None = None
    mirror: str = ""
    source_lacks: bool = False
    origin: Origin | None = field(default=None, compare=False)
    only: tuple[Platform, ...] = ()
    foreign: bool = False

    def __str__(self) -> str:
        return str(Reference.of(self.target, self.ref))


@dataclass(frozen=True, slots=True)
class Part:
    """Content that an image needs. role: what it is in the image, as in `layer 3 of 7 of linux/arm64`."""

    content: Descriptor
    role: str


@dataclass(frozen=True, slots=True)
class Found:
    """What was found instead of some content: the size in bytes and the digest, each None if it is not known."""

    size: int | None = None
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Content that is missing or damaged, once for each store. images: all verified images that need it."""

    health: Health
    target: Location
    part: Part
    found: Found | None
    images: tuple[Subject, ...]


@dataclass(frozen=True, slots=True)
class VerifiedImage:
    """The result for one image. root: the image that its name has, None if there is no such name.

    reason: why a policy keeps it although the source names another image; "" if no policy does. trusted: what its
    signatures prove, None if that was not asked, or it is a signature itself.
    """

    subject: Subject
    root: Descriptor | None
    health: Health
    reason: str = ""
    trusted: Trusted | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification.

    scope: what was verified, "" with a spec. started, finished: UTC, ISO 8601; seconds: between them. contents: the
    number of different blobs and manifests that the images need. manifests, blobs: of them, those that were read.
    candidates: the number of blobs that could have been read; fewer are with a sample. policies: the bundles whose
    policies say what has to have signed the images, as `bundle shop-000007, 2026-11-26`; () if a spec or options do.
    """

    scope: str
    spec: SpecStamp | None
    depth: Depth
    started: str
    finished: str
    seconds: float
    images: tuple[VerifiedImage, ...]
    findings: tuple[Finding, ...] = ()
    failures: tuple[Failure, ...] = ()
    contents: int = 0
    manifests: Amount = field(default_factory=Amount)
    blobs: Amount = field(default_factory=Amount)
    candidates: int = 0
    policies: tuple[str, ...] = ()

    @property
    def counts(self) -> Counter[Health]:
        """The number of images by health."""
        return Counter(image.health for image in self.images)

    @property
    def trust(self) -> Counter[Trust]:
        """The number of images by what their signatures prove."""
        return Counter(image.trusted.state for image in self.images if image.trusted is not None)

    @property
    def exit_code(self) -> ExitCode:
        """0 if all is complete; 4 if content is damaged, else 3 if something is not proven or not checked, else 1."""
        counts = self.counts
        if counts[Health.DAMAGED]:
            return ExitCode.INTEGRITY
        if self.failures or counts[Health.UNCHECKED] or self.trust[Trust.UNPROVEN]:
            return ExitCode.PARTLY
        return ExitCode.FAILED if counts[Health.MISSING] or counts[Health.BEHIND] else ExitCode.DONE
