"""index.json: the names of a layout. Entries that other tools wrote without a name that we know are kept unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from mirrorsync.errors import GrammarError, StorageError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import REF_NAME, Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import split_ref_name
from mirrorsync.oci.ref import Tag, written

_EMPTY: Final[Mapping[str, Any]] = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX}


@dataclass(frozen=True, slots=True)
class Name:
    """The name of an entry: a repository ("" if another tool wrote it without one), and a tag or digest."""

    repository: str
    ref: Tag | Digest

    def __str__(self) -> str:
        return written(self.repository, self.ref)


@dataclass(slots=True)
class Index:
    """The content of index.json. repositories: entries by repository and name; others: entries without such a name."""

    head: Mapping[str, Any] = field(default_factory=lambda: dict(_EMPTY))
    repositories: dict[str, dict[Name, Mapping[str, Any]]] = field(default_factory=dict)
    others: list[Mapping[str, Any]] = field(default_factory=list)

    @classmethod
    def load(cls, raw: bytes, path: str) -> Index:
        """Read index.json. path: of the file, for messages. Raises: StorageError if it is not an image index."""
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise StorageError(f"{path} is not JSON", remedy="restore it, or mirror into a new directory") from error
        entries = document.get("manifests") if isinstance(document, dict) else None
        if not isinstance(entries, list) or document.get("mediaType", media_types.OCI_INDEX) != media_types.OCI_INDEX:
            raise StorageError(f"{path} is not an image index", remedy="restore it, or mirror into a new directory")
        index = cls(head={key: value for key, value in document.items() if key != "manifests"})
        for entry in entries:
            name = _name(entry)
            if name is None or name in index.repositories.get(name.repository, {}):
                index.others.append(entry)
            else:
                index.repositories.setdefault(name.repository, {})[name] = entry
        return index

    def dump(self) -> bytes:
        """Return the bytes of index.json: names in order, so that equal content gives equal bytes."""
        named = {str(name): entry for names in self.repositories.values() for name, entry in names.items()}
        entries = [*self.others, *(named[name] for name in sorted(named))]
        return json.dumps({**self.head, "manifests": entries}, separators=(",", ":")).encode()

    def get(self, name: Name) -> Descriptor | None:
        """Return the content of an entry, None if there is no entry of that name."""
        entry = self.repositories.get(name.repository, {}).get(name)
        return Descriptor.from_json(entry) if entry is not None else None

    def of(self, repository: str) -> Iterator[tuple[Name, Descriptor]]:
        """Yield the entries of one repository."""
        for name, entry in self.repositories.get(repository, {}).items():
            yield name, Descriptor.from_json(entry)

    def unnamed(self) -> Iterator[tuple[str, Descriptor]]:
        """Yield the well-formed entries of `others`: their annotated name ("" without one), and their content."""
        for entry in self.others:
            with suppress(GrammarError):
                content = Descriptor.from_json(entry)
                yield content.annotations.get(REF_NAME, ""), content.bare()

    def forget(self, digest: Digest) -> None:
        """Remove the entries of `others` that have this digest."""
        self.others = [
            entry for entry in self.others if not (isinstance(entry, Mapping) and entry.get("digest") == digest)
        ]

    def set(self, name: Name, content: Descriptor) -> None:
        """Set the content of a name."""
        entry = content.bare().annotated({REF_NAME: str(name)}).to_json()
        self.repositories.setdefault(name.repository, {})[name] = entry

    def remove(self, name: Name) -> None:
        """Remove a name, if it exists."""
        names = self.repositories.get(name.repository, {})
        names.pop(name, None)
        if not names:
            self.repositories.pop(name.repository, None)


def _name(entry: object) -> Name | None:
    """Return an entry's name, None if it is malformed or has no name that we know."""
    try:
        annotations = Descriptor.from_json(entry).annotations
        if REF_NAME not in annotations:
            return None
        repository, tag, digest = split_ref_name(annotations[REF_NAME])
    except GrammarError:
        return None
    # No tool writes the name `repository:tag@digest`; as one of ours it would be ambiguous.
    ref = tag if digest is None else digest if tag is None else None
    return Name(repository, ref) if ref is not None else None
