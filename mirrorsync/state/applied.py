"""Which bundle of a sender was applied last to a destination: what an older or a mixed one is recognised by."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mirrorsync.errors import GrammarError, StorageError
from mirrorsync.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Applied:
    """The last bundle. digest: of its document. tags: digests of its images, by `repository:tag`, without a prefix."""

    sequence: int
    digest: Digest
    tags: Mapping[str, Digest] = field(default_factory=dict)


class AppliedBundles:
    """What is remembered of bundles, in one small file for each sender and destination.

    directory: None = nothing is remembered. warn: is told if a file is damaged; then nothing is known of its sender.
    """

    def __init__(self, directory: Path | None, warn: Callable[[str], None]) -> None:
        self._directory = directory
        self._warn = warn

    def last(self, chain: str, destination: str) -> Applied | None:
        """Return the last bundle of a sender at a destination, None if none is known. Raises: StorageError."""
        path = self._path(chain, destination)
        if path is None:
            return None
        try:
            value = json.loads(path.read_bytes())
            tags = {str(name): Digest(digest) for name, digest in value["tags"].items()}
            return Applied(int(value["sequence"]), Digest(value["digest"]), tags)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}", remedy="set STATE_DIRECTORY") from error
        except (ValueError, KeyError, TypeError, AttributeError, GrammarError):
            self._warn(f"{path} is damaged: it is not known which bundle was applied last to {destination}")
            return None

    def remember(self, chain: str, destination: str, applied: Applied) -> None:
        """Remember a bundle as the last one of its sender at a destination, durably. Raises: StorageError."""
        path = self._path(chain, destination)
        if path is None:
            return
        value = {
            "chain": chain,
            "destination": destination,
            "sequence": applied.sequence,
            "digest": applied.digest,
            "tags": dict(applied.tags),
        }
        staged = path.with_suffix(".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with staged.open("w", encoding="utf-8") as file:
                json.dump(value, file, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            staged.rename(path)
        except OSError as error:
            raise StorageError(
                f"cannot write {path}: {error.strerror}", remedy="set STATE_DIRECTORY to a writable directory"
            ) from error

    def _path(self, chain: str, destination: str) -> Path | None:
        key = hashlib.sha256(f"{chain} {destination}".encode()).hexdigest()[:24]
        return self._directory / f"bundles-{key}.json" if self._directory else None
