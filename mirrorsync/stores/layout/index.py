"""index.json: the names of a layout. Entries that other tools wrote without a name that we know are kept unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mirrorsync.errors import GrammarError, StorageError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import REF_NAME, Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.stores.layout.entries import Name, OtherEntries, own_name, primary_name

_EMPTY: Final[Mapping[str, Any]] = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX}


class Removed(NamedTuple):
    """What was removed of the entries of other tools: a digest in a repository, or only one of its names there."""

    digest: Digest
    repository: str
    name: Name | None = None


@dataclass(slots=True)
class Index:
    """The content of index.json.

    repositories: entries as mirrorsync writes them, by repository and name; others: all other entries.
    """

    head: Mapping[str, Any] = field(default_factory=lambda: dict(_EMPTY))
    repositories: dict[str, dict[Name, Mapping[str, Any]]] = field(default_factory=dict)
    others: list[Mapping[str, Any]] = field(default_factory=list)
    _read: tuple[list[Mapping[str, Any]], OtherEntries] | None = None

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

    def other_names(self) -> OtherEntries:
        """Return the names in `others`, read once as long as they do not change."""
        if self._read is None or self._read[0] is not self.others:
            self._read = self.others, OtherEntries(self.others)
        return self._read[1]

    def found(self, name: Name) -> dict[Digest, Descriptor]:
        """Return the images of a name in any form, by digest: several if nothing tells their entries apart."""
        own, others = self.get(name), self.other_names()
        found = {own.digest: own} if own is not None else {}
        found |= others.named.get(name, {})
        return found or others.aliases.get(name, {})

    def forget(self, removed: Removed) -> None:
        """Remove the entries of `others` that a removal is about."""
        self.others = [entry for entry in self.others if not _is_removed(entry, removed)]

    def set(self, name: Name, content: Descriptor) -> None:
        """Set the content of a name; entries of other tools with this name are replaced."""
        if name in self.other_names().named:
            self.others = [entry for entry in self.others if _listed_name(entry) != name]
        entry = content.bare().annotated({REF_NAME: str(name)}).to_json()
        self.repositories.setdefault(name.repository, {})[name] = entry

    def remove(self, name: Name) -> None:
        """Remove a name, if it exists."""
        names = self.repositories.get(name.repository, {})
        names.pop(name, None)
        if not names:
            self.repositories.pop(name.repository, None)


def _name(entry: object) -> Name | None:
    """Return the name of an entry that is written as mirrorsync writes it, None for every other entry."""
    try:
        return own_name(Descriptor.from_json(entry).annotations)
    except GrammarError:
        return None


def _listed_name(entry: object) -> Name | None:
    try:
        return primary_name(Descriptor.from_json(entry).annotations)
    except GrammarError:
        return None


def _is_removed(entry: object, removed: Removed) -> bool:
    if not isinstance(entry, Mapping) or entry.get("digest") != removed.digest:
        return False
    name = _listed_name(entry)
    repository = name.repository if name is not None else ""
    return repository == removed.repository and removed.name in (None, name)
