"""Locations, descriptors and names, read from a document: each is checked, and equal ones share one object."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from mirrorsync.checked_json import Damaged, count, inside, items, members, some_text, text
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import check_host, check_repository
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Ref, Tag, parse_ref
from mirrorsync.oci.reference import Location, canonical_repository

_MAX_MEDIA_TYPE: Final = 255
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


class Values:
    """Reads values and remembers them: thousands of images have few locations, and their steps repeat them.

    Methods take a value as `json` returns it, and raise Damaged or GrammarError.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._stores: dict[str, str] = {}
        self._locations: dict[tuple[str, str], Location] = {}
        self._contents: dict[str, Descriptor] = {}
        self._content = {"mediaType": self._media_type, "digest": self.digest, "size": count}
        self._location = {"store": self.store, "repository": text}

    def shared(self, value: Any) -> str:
        """Return a string; equal strings share one object."""
        return self._texts.setdefault(text(value), value)

    def content(self, value: Any) -> Descriptor:
        """Return a descriptor of media type, digest and size."""
        known = self._known(value) if type(value) is dict else None
        if known is not None:
            return known
        read = members(value, self._content)
        made = Descriptor(read["mediaType"], read["digest"], read["size"])
        self._contents.setdefault(made.digest, made)
        return made

    def blob(self, value: Any) -> Descriptor:
        """Return a descriptor of media type, digest and size; of a foreign layer with its URLs."""
        if type(value) is not dict or "urls" not in value:
            return self.content(value)
        with inside("urls"):
            urls = items(value["urls"], some_text)
        return replace(self.content({name: part for name, part in value.items() if name != "urls"}), urls=urls)

    def _known(self, value: dict[str, Any]) -> Descriptor | None:
        digest, size = value.get("digest"), value.get("size")
        known = self._contents.get(digest) if type(digest) is str else None
        # Types are compared too, since 1.0 and true are equal to 1.
        if known is None or type(size) is not int or len(value) != len(self._content):
            return None
        return known if (value.get("mediaType"), size) == (known.media_type, known.size) else None

    def location(self, value: Any) -> Location:
        """Return a location in the canonical spelling of its store."""
        read = members(value, self._location)
        key = (read["store"], read["repository"])
        known = self._locations.get(key)
        if known is None:
            with inside("repository"):
                if read["repository"] and canonical_repository(*key) != read["repository"]:
                    raise Damaged("not the canonical spelling of a repository")
            known = self._locations[key] = Location(*key)
        return known

    def locations(self, value: Any) -> tuple[Location, ...]:
        """Return locations, at least one."""
        if value == []:
            raise Damaged("empty")
        return items(value, self.location)

    def store(self, value: Any) -> str:
        """Return the address of a store."""
        address = text(value)
        if address in self._stores:
            return self._stores[address]
        transport = Location(address, "").transport
        if transport.is_registry:
            canonical = check_host(address)
        else:
            canonical = transport.address(self.path(address).removeprefix(transport.scheme), "/")
        if canonical != address:
            raise Damaged("not the address of a store")
        return self._stores.setdefault(address, address)

    def digest(self, value: Any) -> Digest:
        """Return a digest."""
        return Digest(text(value))

    def tag(self, value: Any) -> Tag:
        """Return a tag."""
        return Tag(text(value))

    def tags(self, value: Any) -> tuple[Tag, ...]:
        """Return tags."""
        return items(value, self.tag)

    def repository(self, value: Any) -> str:
        """Return the name of a repository of a registry."""
        return self.shared(check_repository(text(value)))

    def followed(self, value: Any) -> Ref:
        """Return the ref that is followed at a source."""
        return parse_ref(text(value))

    def platforms(self, value: Any) -> tuple[Platform, ...]:
        """Return platforms."""
        return items(value, lambda name: Platform.parse(text(name)))

    def truth(self, value: Any) -> bool:
        """Return true or false."""
        if type(value) is not bool:
            raise Damaged("not true or false")
        return value

    def path(self, value: Any) -> str:
        """Return the path of a file."""
        name = text(value)
        try:
            name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise Damaged("not a path") from error
        if not name or "\0" in name:
            raise Damaged("not a path")
        return name

    def time(self, value: Any) -> str:
        """Return a time: UTC, ISO 8601."""
        if _TIME.fullmatch(text(value)) is None:
            raise Damaged("not a time such as 2026-01-31T12:00:00Z")
        return str(value)

    def _media_type(self, value: Any) -> str:
        if not 0 < len(text(value)) <= _MAX_MEDIA_TYPE:
            raise Damaged("not a media type")
        return self.shared(value)
