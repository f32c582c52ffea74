"""The images that a saved plan or report says destinations have, for a comparison."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from mirrorsync.checked_json import Damaged, Document, Read, inside, members, numbered, one_of, or_null
from mirrorsync.documents.envelope import VERSIONS, full_name
from mirrorsync.documents.values import Values
from mirrorsync.errors import UsageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Ref
from mirrorsync.oci.reference import Location
from mirrorsync.plan.model import State
from mirrorsync.text import printable

Held = Literal["plan", "report"]
_KIND: Final = re.compile(rb'\s*\{.*?"kind"\s*:\s*"mirrorsync\.(plan|report)"', re.DOTALL)
_STATES: Final = {state.value: state for state in State}
_OUTCOMES: Final = ("done", "unchanged", "kept", "delayed", "refused", "failed", "skipped")


def read_held(data: bytes, name: str) -> dict[tuple[Location, Ref], Digest] | None:
    """Return the images after a run, or after a plan will be applied; None if the file is neither a report nor a plan.

    name: the file's, for errors. Images that the run did not look at are not in it. Raises: UsageError if the file is
    damaged, or of another version.
    """
    found = _KIND.match(data[:4096])
    if found is None:
        return None
    kind: Held = "report" if found[1] == b"report" else "plan"
    try:
        return dict(_Reader(kind).images(Document(data.decode())))
    except Damaged as error:
        where, reason = printable(error.pointer), error.reason
    except json.JSONDecodeError as error:
        where, reason = f"line {error.lineno}, column {error.colno}", "not JSON"
    except (ValueError, RecursionError):
        where, reason = "/", f"not the JSON of a {kind}"
    raise UsageError(f"{printable(name)} is a damaged {kind} (at {where}): {reason}", remedy="write a new one")


class _Reader(Values):
    """Reads the images of one document."""

    def __init__(self, kind: Held) -> None:
        super().__init__()
        self._head: Mapping[str, Read[Any]] = {
            "kind": one_of({full_name(kind): kind}),
            "version": self._version_of(VERSIONS[kind]),
        }
        self._image: dict[str, Read[Any]] = {
            "target": self.location,
            "tag": or_null(self.tag),
            "before": or_null(self.content),
            "after": or_null(self.content),
            "state": one_of(_STATES),
        }
        if kind == "report":
            self._image["outcome"] = one_of({word: word for word in _OUTCOMES})

    def images(self, found: Document) -> Iterator[tuple[tuple[Location, Ref], Digest]]:
        """Yield the name and digest of every image that is at a destination. Raises: Damaged, json.JSONDecodeError."""
        for key in found.members():
            with inside(key):
                if key == "images":
                    for one in numbered(found.elements(), self._one):
                        yield from one
                else:
                    self._head.get(key, _anything)(found.value())

    def _one(self, value: Any) -> list[tuple[tuple[Location, Ref], Digest]]:
        if type(value) is not dict:
            raise Damaged("not an object")
        read = members({key: value[key] for key in self._image if key in value}, self._image)
        content: Descriptor | None = read["after"] if _applied(read) else read["before"]
        if content is None:
            return []
        return [((read["target"], read["tag"] or content.digest), content.digest)]

    @staticmethod
    def _version_of(version: int) -> Read[Any]:
        def read(value: Any) -> int:
            if type(value) is not int or value != version:
                raise Damaged(f"not version {version}")
            return value

        return read


def _applied(read: Mapping[str, Any]) -> bool:
    """Return whether a destination has the image of the change, and not that of before."""
    outcome = read.get("outcome")
    return bool(read["state"].changes) if outcome is None else outcome in ("done", "unchanged")


def _anything(value: Any) -> Any:
    return value
