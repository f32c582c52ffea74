"""Policies that came with bundles: what has to have signed the images of a destination, as the connected side says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import written
from mirrorsync.oci.reference import Location
from mirrorsync.plan.policies import Exemption, Verify
from mirrorsync.sync.verify.model import Subject
from mirrorsync.sync.verify.trust import Asked


@dataclass(frozen=True, slots=True)
class Exempted:
    """An exception, and the images that it was for when the bundle was made: names without the destination's prefix."""

    exemption: Exemption
    images: frozenset[str]


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """A policy, and its images: names without the destination's prefix, as `library/alpine:3.20`.

    exempted: its exceptions. narrowed: whether platforms were chosen from the images of the source.
    """

    policy: Verify
    images: frozenset[str]
    exempted: tuple[Exempted, ...] = ()
    narrowed: bool = False


@dataclass(frozen=True)
class BundlePolicies:
    """The policies of the last bundle of one sender at one destination.

    bundle: its name and number, as shop-000007. created: UTC, ISO 8601. images: the digests of all its images by name.
    """

    bundle: str
    created: str
    destination: Location
    images: Mapping[str, Digest]
    policies: tuple[ImagePolicy, ...]

    @cached_property
    def _by_image(self) -> Mapping[str, ImagePolicy]:
        return {name: one for one in self.policies for name in one.images}

    @cached_property
    def _by_repository(self) -> Mapping[str, ImagePolicy]:
        found: dict[str, ImagePolicy] = {}
        for one in self.policies:
            for name in sorted(one.images):
                found.setdefault(_repository(name), one)
        return found

    def name(self, subject: Subject) -> str | None:
        """Return the name of an image below the destination, None if it is elsewhere."""
        at, prefix = subject.target, self.destination.repository
        if at.store != self.destination.store:
            return None
        if prefix and at.repository != prefix and not at.repository.startswith(f"{prefix}/"):
            return None
        return written(at.repository.removeprefix(prefix).removeprefix("/"), subject.ref)

    def asked(self, name: str, root: Digest) -> Asked | None:
        """Return what has to have signed an image, None if nothing has.

        An image that no bundle names, because it is older, has to be signed as the others of its repository. An
        exception is for the image that the bundle names, not for another one under its tag.
        """
        known = self.images.get(name)
        one = self._by_image.get(name)
        if one is None:
            one = self._by_repository.get(_repository(name)) if known is None else None
            return Asked(one.policy, (), one.narrowed) if one is not None else None
        exempted = [each.exemption for each in one.exempted if name in each.images] if known == root else []
        return Asked(one.policy, exempted, one.narrowed)


@dataclass(frozen=True, slots=True)
class Travelled:
    """The policies of all bundles that count at a location, the newest first; the first that knows an image counts."""

    bundles: Sequence[BundlePolicies]

    @property
    def names(self) -> tuple[str, ...]:
        """The bundles, each with its day."""
        return tuple(f"bundle {one.bundle}, {one.created[:10]}" for one in self.bundles)

    def asked(self, subject: Subject, root: Digest) -> Asked | None:
        """Return what has to have signed an image, None if nothing has."""
        named = [(one, name) for one in self.bundles if (name := one.name(subject)) is not None]
        for one, name in named:
            if name in one.images:
                return one.asked(name, root)
        return next((found for one, name in named if (found := one.asked(name, root)) is not None), None)


def _repository(name: str) -> str:
    return name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
