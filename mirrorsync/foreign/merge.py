"""Bring a draft into order: one entry for each repository, no image twice."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from mirrorsync.errors import GrammarError
from mirrorsync.foreign.draft import ALL_TAGS, Draft, Entry
from mirrorsync.oci.reference import Location, host_and_path, parse_repository

_Key = tuple[str, str, str, str]
_EXACT = ""
_WHOLE = json.dumps([ALL_TAGS, ""])


def merged(draft: Draft) -> Draft:
    """Return the draft with entries of one repository put together: exact tags in one, and each set of filters.

    All tags of a repository include those that are listed by name; of two digests for one tag, the first is taken.
    """
    slots: dict[tuple[_Key, str], Entry] = {}
    for entry in draft.entries:
        key = (entry.source, entry.name, entry.to, json.dumps(entry.options, sort_keys=True))
        slot = (key, _EXACT if entry.tags else json.dumps([entry.filters, entry.tag], sort_keys=True))
        slots[slot] = _united(slots.get(slot), entry)
    entries = []
    for (key, _), entry in slots.items():
        if entry.tags and (key, _WHOLE) in slots:
            entry = replace(entry, tags=tuple(tag for tag in entry.tags if ":" in tag))  # noqa: PLW2901
        covered = (key, _WHOLE) in slots and entry.filters and entry.filters != ALL_TAGS
        if not covered and (entry.tags or entry.filters or ":" in entry.source):
            entries.append(entry)
    return replace_entries(draft, entries)


def replace_entries(draft: Draft, entries: list[Entry]) -> Draft:
    """Return a draft with other entries."""
    return Draft(entries, dict(draft.registries), dict(draft.destinations), list(draft.notes))


def _united(first: Entry | None, second: Entry) -> Entry:
    if first is None:
        first = replace(second, tags=(), notes=())
    tags = {tag.partition("@")[0] if not tag.startswith("sha") else tag: tag for tag in first.tags}
    notes = [*first.notes, *second.notes]
    for tag in second.tags:
        name = tag.partition("@")[0] if not tag.startswith("sha") else tag
        before = tags.setdefault(name, tag)
        if before == name:  # the same tag with a digest says more
            tags[name] = tag
        elif before != tag and tag != name:
            notes.append(f"{name} is wanted with another digest, too: {tag}")
    return replace(first, tags=tuple(tags.values()), notes=_unique(notes))


def _unique(notes: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notes))


def template(entries: Iterable[Entry]) -> str:
    """Return the default for `name:`: with the host, if two hosts have repositories of the same name."""
    hosts: dict[str, str] = {}
    for entry in entries:
        location = _location(entry.source)
        if not entry.name and location is not None:
            host, repository = host_and_path(location)
            if hosts.setdefault(repository, host) != host:
                return "{host}/{repository}"
    return "{repository}"


def _location(source: str) -> Location | None:
    try:
        return parse_repository(source)
    except GrammarError:
        return None
