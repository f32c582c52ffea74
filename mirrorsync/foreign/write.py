"""Write a draft as a spec: valid, commented, in the order of the draft."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from mirrorsync.errors import UsageError
from mirrorsync.foreign.draft import Draft, Entry, Registry
from mirrorsync.foreign.merge import merged, replace_entries, template
from mirrorsync.problems import SpecError
from mirrorsync.spec.load import load
from mirrorsync.text import printable

PLACEHOLDER: Final = "registry.example.com/mirror"
_DESTINATION: Final = "mirror"
# What needs no quotes in YAML, whatever it is: it begins with a letter, and has none of YAML's signs.
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*(?::[A-Za-z0-9._/-]+)*")
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_PLACES: Final = re.compile(r"/(mirrors|registries)/([^/]+)")
_WIDTH: Final = 300


def spec_text(draft: Draft, origins: Sequence[str], to: str = "") -> str:
    """Return the spec of a draft. origins: files and formats, for its first lines. to: the destination, "" for those of
    the draft, or one that is to be edited.

    An entry that our spec does not allow becomes a comment with the reason. Raises: UsageError if no image is left.
    """
    left = merged(draft)
    if to:
        left = _to(left)
    while left.entries:
        text = "\n".join([*_lines(left, origins, to), ""])
        try:
            load(text.encode(), source="", environment=_Anything(), base="/")
        except SpecError as error:
            left = _without(left, error)
        else:
            return text
    reasons = printable("; ".join(left.notes[:3]), 600)
    raise UsageError(f"no image was found{f': {reasons}' if reasons else ''}", remedy="check that it is the right file")


class _Anything(dict[str, str]):
    """Has every variable: they are set when the spec is used."""

    def __contains__(self, _: object) -> bool:
        return True

    def __getitem__(self, _: str) -> str:
        return "variable.example"


def _to(draft: Draft) -> Draft:
    """Return the draft with one destination for all."""
    one = replace_entries(draft, [replace(entry, to="") for entry in draft.entries])
    one.destinations.clear()
    return merged(one)


def _without(draft: Draft, error: SpecError) -> Draft:
    """Return the draft without what is wrong in it; its notes say what and why."""
    entries: list[Entry | None] = list(draft.entries)
    kept = replace_entries(draft, [])
    hosts = list(draft.registries)
    for problem in error.problems:
        found = _PLACES.match(problem.pointer)
        if found is None:
            raise UsageError(f"this cannot be written as a spec: {problem.message}", remedy=problem.remedy) from error
        if found[1] == "mirrors":
            entry = entries[int(found[2])]
            entries[int(found[2])] = None
            if entry is not None:
                kept.note(f"not taken over: {_summary(entry)}: {problem.message}")
        else:
            host = found[2].replace("~1", "/").replace("~0", "~")
            if host not in hosts:
                raise UsageError(f"this cannot be written as a spec: {problem.message}") from error
            if kept.registries.pop(host, None) is not None:
                kept.note(f"not taken over: the settings of {printable(host)}: {problem.message}")
    kept.entries += [entry for entry in entries if entry is not None]
    return kept


def _summary(entry: Entry) -> str:
    tags = [*entry.tags, *(f"{key}: {value}" for key, value in entry.filters.items())]
    return printable(" ".join([entry.source, *tags]), 200)


def _lines(draft: Draft, origins: Sequence[str], to: str) -> Iterator[str]:
    yield "# Made by `mirrorsync init` from:"
    yield from (_comment(f"  {origin}") for origin in origins)
    if draft.notes:
        yield "#"
        yield "# What has no equal in this spec, or needs a look:"
        yield from (_comment(f"  {note}") for note in draft.notes)
    yield "version: 1"
    if draft.registries:
        yield "\nregistries:"
        for host, registry in draft.registries.items():
            yield from _registry(host, registry)
    unplaced = [entry for entry in draft.entries if not entry.to]
    yield "\ndestinations:"
    used = {entry.to for entry in draft.entries}
    for name, place in draft.destinations.items():
        if name in used:
            yield f"  {scalar(name)}: {scalar(place)}"
    if unplaced:
        edit = "" if to else " # EDIT THIS: host/prefix of your registry, or oci:DIRECTORY"
        yield f"  {_DESTINATION}: {scalar(to or PLACEHOLDER)}{edit}"
        yield "\ndefaults:"
        yield f"  to: [{_DESTINATION}]"
        yield f"  name: {json.dumps(template(unplaced))} # the repository at the destination; also {{basename}}"
    yield "\nmirrors:"
    for entry in draft.entries:
        yield from _mirror(entry)


def _registry(host: str, registry: Registry) -> Iterator[str]:
    yield from (_comment(note, "  ") for note in registry.notes)
    yield f"  {scalar(host)}:{'' if registry.settings else ' {}'}"
    for key, value in registry.settings.items():
        yield f"    {key}: {scalar(value)}"


def _mirror(entry: Entry) -> Iterator[str]:
    yield from (_comment(note, "  ") for note in entry.notes)
    yield f"  - from: {scalar(entry.source)}"
    if entry.filters:
        yield f"    tags: {_flow(entry.filters)}"
    elif len(entry.tags) > 3:
        yield "    tags:"
        yield from (f"      - {json.dumps(tag)}" for tag in entry.tags)
    elif entry.tags:
        yield f"    tags: [{', '.join(json.dumps(tag) for tag in entry.tags)}]"
    if entry.tag:
        yield f"    tag: {json.dumps(entry.tag)}"
    if entry.to:
        yield f"    to: {scalar(entry.to)}"
    if entry.name:
        yield f"    name: {scalar(entry.name)}"
    for key, value in entry.options.items():
        yield f"    {key}: {scalar(value)}"


def _flow(filters: Mapping[str, Any]) -> str:
    return f"{{{', '.join(f'{key}: {scalar(value)}' for key, value in filters.items())}}}"


def scalar(value: Any) -> str:
    """Return a value as YAML: JSON is YAML, too."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if isinstance(value, list):
        return f"[{', '.join(scalar(item) for item in value)}]"
    return json.dumps(value)


def _comment(note: str, indentation: str = "") -> str:
    return f"{indentation}# {printable(note, _WIDTH)}"
