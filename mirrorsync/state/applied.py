"""Which bundle of a sender was applied last to a destination: what an older or a mixed one is recognised by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from mirrorsync.errors import GrammarError, StorageError
from mirrorsync.files.disk import new_file, replace_file
from mirrorsync.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """The policies that a bundle has brought, as text. bundle: its name and number; created: UTC, ISO 8601.

    images: the digests of all its images, as `Applied.tags`.
    """

    bundle: str
    sequence: int
    created: str
    images: Mapping[str, Digest]
    text: str


@dataclass(frozen=True, slots=True)
class Applied:
    """The last bundle. digest: of its document. tags: the digests that its tags are known to name there, by
    `repository:tag`, without a prefix: those that could not be set have the digest of before.

    policy: those of the bundle with the highest number, None if no bundle has brought any.
    """

    sequence: int
    digest: Digest
    tags: Mapping[str, Digest] = field(default_factory=dict)
    policy: SitePolicy | None = None

    def after(self, last: Applied | None) -> Applied:
        """Return what is remembered after this bundle. An older one brings no policies, nor does one without any."""
        older = last.policy if last is not None else None
        kept = older is not None and (self.policy is None or self.policy.sequence < older.sequence)
        return replace(self, policy=older) if kept else self


def check_writable(directory: Path | None) -> None:
    """Reject a directory in which nothing can be remembered, before the work that is to be. Raises: StorageError."""
    if directory is None:
        return
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        new_file(directory, ".writable-").unlink()
    except OSError as error:
        raise _not_written(directory, error) from error


class AppliedBundles:
    """What is remembered of bundles, in one small file for each sender and destination.

    directory: None = nothing is remembered. warn: is told if a file is damaged; then nothing is known of its sender.
    """

    def __init__(self, directory: Path | None, warn: Callable[[str], None]) -> None:
        self.directory = directory
        self._warn = warn

    def last(self, chain: str, destination: str) -> Applied | None:
        """Return the last bundle of a sender at a destination, None if none is known. Raises: StorageError."""
        path = self._path(chain, destination)
        if path is None:
            return None
        damaged = f"{path} is damaged: it is not known which bundle was applied last to {destination}"
        found = self._read(path, damaged)
        return found[2] if found is not None else None

    def at(self, destination: str) -> dict[str, Applied]:
        """Return the last bundle of each sender at a destination, by its chain. Raises: StorageError."""
        found = [one for one in self._all() if one[1] == destination]
        return {chain: applied for chain, _, applied in found}

    def every(self) -> list[tuple[str, Applied]]:
        """Return the last bundle of each sender at each destination, with the destination. Raises: StorageError."""
        return [(destination, applied) for _, destination, applied in self._all()]

    def _all(self) -> list[tuple[str, str, Applied]]:
        paths = sorted(self.directory.glob("bundles-*.json")) if self.directory else []
        read = [self._read(path, f"{path} is damaged: its policies are not known") for path in paths]
        return [found for found in read if found is not None]

    def _read(self, path: Path, damaged: str) -> tuple[str, str, Applied] | None:
        try:
            value = json.loads(path.read_bytes())
            applied = Applied(int(value["sequence"]), Digest(value["digest"]), _tags(value["tags"]))
            policy = value.get("policy")
            if policy is not None:
                read = SitePolicy(**{**policy, "images": _tags(policy["images"])})
                applied = replace(applied, policy=read)
            return str(value["chain"]), str(value["destination"]), applied
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}", remedy="set STATE_DIRECTORY") from error
        except (ValueError, KeyError, TypeError, AttributeError, GrammarError):
            self._warn(damaged)
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
            "policy": asdict(applied.policy) if applied.policy is not None else None,
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(path, [json.dumps(value, sort_keys=True).encode()])
        except OSError as error:
            raise _not_written(path, error) from error

    def _path(self, chain: str, destination: str) -> Path | None:
        key = hashlib.sha256(f"{chain} {destination}".encode()).hexdigest()[:24]
        return self.directory / f"bundles-{key}.json" if self.directory else None


def _not_written(path: Path, error: OSError) -> StorageError:
    return StorageError(f"cannot write {path}: {error.strerror}", remedy="set STATE_DIRECTORY to a writable directory")


def _tags(value: Mapping[str, str]) -> dict[str, Digest]:
    return {str(name): Digest(digest) for name, digest in value.items()}
