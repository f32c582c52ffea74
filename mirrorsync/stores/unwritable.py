"""The writing half of a repository that is only read: every method raises the error that says so."""

# ruff: noqa: ARG002 - the parameters are the protocol's

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag


class Unwritable(ABC):
    """What a repository that is only read has of `stores.base.WritableRepository`."""

    @abstractmethod
    def refusal(self) -> MirrorsyncError:
        """Return the error for whatever is to be written."""

    async def mount(self, blob: Descriptor, origin: str) -> bool:
        """Raise the refusal."""
        raise self.refusal()

    async def write(self, blob: Descriptor, data: bytes) -> None:
        """Raise the refusal."""
        raise self.refusal()

    def put(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Raise the refusal."""
        raise self.refusal()

    async def put_manifest(self, manifest: Manifest) -> None:
        """Raise the refusal."""
        raise self.refusal()

    async def tag(self, manifest: Manifest, tag: Tag) -> None:
        """Raise the refusal."""
        raise self.refusal()

    async def delete(self, ref: Tag | Digest) -> None:
        """Raise the refusal."""
        raise self.refusal()
