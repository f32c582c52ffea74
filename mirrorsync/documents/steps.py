"""The steps of a plan as objects, and read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any, Final, NamedTuple

from mirrorsync.checked_json import Damaged, Read, items, members, or_null, text
from mirrorsync.documents.parts import bare_json, location_json
from mirrorsync.documents.values import Values
from mirrorsync.oci.reference import Location
from mirrorsync.plan.steps import CopyBlob, DeleteManifest, DeleteTag, MountBlob, PutManifest, SetTag, Step

_STEPS: Mapping[str, type[Any]] = {
    "copy": CopyBlob,
    "mount": MountBlob,
    "put": PutManifest,
    "tag": SetTag,
    "delete-tag": DeleteTag,
    "delete-manifest": DeleteManifest,
}
_WORDS = {kind: word for word, kind in _STEPS.items()}


def step_json(step: Any) -> dict[str, Any]:
    """Return a step as an object."""
    written = {field.name: _FIELDS[field.name].write(getattr(step, field.name)) for field in fields(type(step))}
    return {"do": _WORDS[type(step)], "id": step.id, **written}


class StepReader(Values):
    """Reads the steps of one plan, in their order. done: the ids of those read so far."""

    def __init__(self) -> None:
        super().__init__()
        self.done: set[str] = set()
        self._kinds = {word: self._fields_of(kind) for word, kind in _STEPS.items()}

    def needs(self, value: Any) -> tuple[str, ...]:
        """Return the ids of earlier steps."""
        return items(value, self._need)

    def _need(self, value: Any) -> str:
        name = self.shared(value)
        if name not in self.done:  # the run would wait for it without end
            raise Damaged("not the id of an earlier step")
        return name

    def step(self, value: Any) -> Step:
        """Return a step; those that it needs were read before."""
        word = value.get("do") if type(value) is dict else None
        if type(word) is not str or word not in self._kinds:
            raise Damaged(f"not one of {', '.join(_STEPS)}", "do")
        read = members(value, self._kinds[word])
        name = read.pop("id")
        del read["do"]
        step: Step = _STEPS[word](**read)
        if name != step.id:
            raise Damaged("not the id of this step", "id")
        if name in self.done:
            raise Damaged("duplicate id", "id")
        self.done.add(name)
        return step

    def _fields_of(self, kind: type[Any]) -> dict[str, Read[Any]]:
        read: dict[str, Read[Any]] = {"do": text, "id": self.shared}
        for field in fields(kind):
            own = partial(_FIELDS[field.name].read, self)
            read[field.name] = or_null(own) if "None" in str(field.type) else own
        return read


class _Field(NamedTuple):
    write: Callable[[Any], Any]
    read: Callable[[StepReader, Any], Any]


def _locations_json(locations: Iterable[Location]) -> list[dict[str, str]]:
    return [location_json(location) for location in locations]


# By field name of steps: how it is written, and how it is read.
_FIELDS: Final[Mapping[str, _Field]] = {
    "blob": _Field(lambda blob: blob.with_urls().to_json(), StepReader.blob),
    "manifest": _Field(bare_json, StepReader.content),
    "before": _Field(bare_json, StepReader.content),
    "source": _Field(location_json, StepReader.location),
    "target": _Field(location_json, StepReader.location),
    "targets": _Field(_locations_json, StepReader.locations),
    "origin": _Field(str, StepReader.repository),
    "tag": _Field(str, StepReader.tag),
    "tags": _Field(list, StepReader.tags),
    "stays": _Field(bool, StepReader.truth),
    "needs": _Field(list, StepReader.needs),
}
