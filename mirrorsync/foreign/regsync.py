"""The specs of regsync."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from mirrorsync.errors import GrammarError
from mirrorsync.foreign.draft import (
    ALL_TAGS,
    UNKNOWN_USER,
    Draft,
    Entry,
    any_of,
    escaped,
    reference,
    shown,
    split_target,
    without_equal,
)
from mirrorsync.foreign.yaml_documents import mapping, mappings, text, texts, true

# regsync (cmd/regsync/config.go, config/host.go of regclient).
_ENV: Final = re.compile(r"""\{\{-?\s*env\s+["'`](?P<name>\w+)["'`]\s*-?\}\}""")
_REGSYNC_KEYS: Final = (
    "source", "target", "type", "tags", "tagSets", "platform", "platforms", "referrers", "digestTags",
)  # fmt: skip
_CREDS_KEYS: Final = ("registry", "user", "pass", "tls", "reqConcurrent")


def is_regsync(value: Any) -> bool:
    """Return whether a document is a spec of regsync."""
    entries = mappings(mapping(value).get("sync"))
    return any("source" in entry and "target" in entry for entry in entries)


def read_regsync(value: Any) -> Draft:
    """Read a spec of regsync."""
    draft = Draft()
    defaults = mapping(value.get("defaults"))
    for note in without_equal("regsync", defaults, ("referrers", "digestTags")):
        draft.note(f"defaults: {note}")
    for host in mappings(value.get("creds")):
        _regsync_host(host, draft)
    for members in mappings(value.get("sync")):
        inherited: dict[str, Any] = {key: defaults[key] for key in ("referrers", "digestTags") if key in defaults}
        draft.entries += _regsync_entries({**inherited, **members}, draft)
    return draft


def _variables(written: str) -> str:
    """Return a text of regsync with its environment templates as our variables."""
    return _ENV.sub(lambda found: f"${{{found['name']}}}", escaped(written))


def _regsync_host(host: Mapping[str, Any], draft: Draft) -> None:
    settings: dict[str, Any] = {}
    if host.get("tls") == "disabled":
        settings["plain_http"] = True
    elif host.get("tls") == "insecure":
        settings["insecure_skip_verify"] = True
    concurrent = text(host.get("reqConcurrent"))
    if concurrent.isdigit():
        settings["max_connections"] = max(3, int(concurrent))
    user = text(host.get("user"))
    # Values are not shown: a key may be in clear text among them.
    notes = [f"regsync's {shown(key, 40)} has no equal here" for key in sorted(host.keys() - set(_CREDS_KEYS))]
    username = _variables(user)
    draft.login(text(host.get("registry")), UNKNOWN_USER if "{{" in username else username, settings, notes)


def _regsync_entries(members: Mapping[str, Any], draft: Draft) -> Iterator[Entry]:
    source, target, kind = text(members.get("source")), text(members.get("target")), text(members.get("type"))
    if kind == "registry":
        draft.note(f"type: registry copies all repositories of {shown(source)}: list the ones you want under mirrors:")
        return
    notes = without_equal("regsync", members, _REGSYNC_KEYS)
    options: dict[str, Any] = {}
    platforms = [*texts(members.get("platform")), *texts(members.get("platforms"))]
    if platforms:
        options["platforms"] = platforms
    if true(members.get("referrers")) or true(members.get("digestTags")):
        options["referrers"] = True
    image, place = _variables(source), _variables(target)
    first, _, rest = place.partition("/")
    host, path, tag = split_target(place) if "${" not in first else (first, *split_target(f"h.example/{rest}")[1:])
    to = draft.destination(host) if host else ""
    known = Entry("", tag=tag, name=path, to=to, options=options, notes=tuple(notes))
    if kind == "image":
        yield from _regsync_image(image, known, draft)
        return
    try:
        repository = _without_tag(image) if _has_variable(image) else str(reference(image).location)
    except GrammarError as error:
        draft.note(f"not a repository: {shown(image)}: {error.message}")
        return
    for one in mappings(members.get("tagSets")) or [mapping(members.get("tags"))]:
        yield replace(known, source=repository, tag="", filters=_regsync_filters(one))


def _has_variable(image: str) -> bool:
    """Return whether a text has variables of ours, and no other templates."""
    return "${" in image.replace("$${", "") and "{{" not in image


def _without_tag(image: str) -> str:
    path, colon, tag = image.rpartition(":")
    return path if colon and "/" not in tag else image


def _regsync_image(image: str, known: Entry, draft: Draft) -> Iterator[Entry]:
    if _has_variable(image):
        tag = image.rpartition(":")[2] if _without_tag(image) != image else "latest"
        yield replace(known, source=f"{_without_tag(image)}:{tag}", tag="" if known.tag == tag else known.tag)
        return
    found = Draft()
    found.image(image, known)
    for note in found.notes:
        draft.note(note)
    yield from found.entries


def _regsync_filters(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return filters; regsync's expressions match whole tags, and allow narrows what semverRange includes."""
    allow, deny, ranges = texts(tags.get("allow")), texts(tags.get("deny")), texts(tags.get("semverRange"))
    filters: dict[str, Any] = {}
    if ranges:
        filters["semver"] = " || ".join(ranges)
        filters |= {"keep": [any_of(allow)]} if allow else {}
    elif allow:
        filters["regex"] = any_of(allow)
    else:
        filters |= ALL_TAGS
    return filters | ({"exclude_regex": deny} if deny else {})
