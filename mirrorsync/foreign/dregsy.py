"""The specs of dregsy."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from mirrorsync.foreign.draft import (
    ALL_TAGS,
    UNKNOWN_USER,
    Draft,
    Entry,
    any_of,
    escaped,
    shown,
    without_equal,
)
from mirrorsync.foreign.yaml_documents import mapping, mappings, text, texts, true

# dregsy (README.md); its expressions match whole tags.
_DREGSY_MAPPING: Final = ("from", "to", "tags", "platform")


def is_dregsy(value: Any) -> bool:
    """Return whether a document is a spec of dregsy."""
    return any("source" in task and "target" in task for task in mappings(mapping(value).get("tasks")))


def read_dregsy(value: Any) -> Draft:
    """Read a spec of dregsy."""
    draft = Draft()
    for note in without_equal("dregsy", value, ("tasks",)):
        draft.note(note)
    for task in mappings(value.get("tasks")):
        name = shown(text(task.get("name")) or "without a name", 60)
        for note in without_equal("dregsy", task, ("name", "source", "target", "mappings")):
            draft.note(f"task {name}: {note}")
        source, target = mapping(task.get("source")), mapping(task.get("target"))
        for side in (source, target):
            _dregsy_host(side, draft)
        to = draft.destination(text(target.get("registry"))) if text(target.get("registry")) else ""
        for members in mappings(task.get("mappings")):
            draft.entries += _dregsy_entries(members, text(source.get("registry")), to, draft)
    return draft


def _dregsy_host(side: Mapping[str, Any], draft: Draft) -> None:
    host = text(side.get("registry"))
    if not host:
        return
    settings = {"insecure_skip_verify": True} if true(side.get("skip-tls-verify")) else {}
    username = _dregsy_user(text(side.get("auth")))
    notes = [
        f"dregsy's {shown(key, 40)} has no equal here"
        for key in sorted(side.keys() - {"registry", "auth", "skip-tls-verify"})
    ]
    if username or settings or notes:
        draft.login(host, username, settings, notes)


def _dregsy_user(auth: str) -> str:
    """Return the user name in an `auth:`, which is JSON in base64; UNKNOWN_USER if it is not readable; "" for none."""
    if not auth or auth == "none":
        return ""
    try:
        found = json.loads(base64.b64decode(auth))
    except (ValueError, RecursionError):
        return UNKNOWN_USER
    return escaped(text(mapping(found).get("username"))) or UNKNOWN_USER


def _dregsy_entries(members: Mapping[str, Any], host: str, to: str, draft: Draft) -> Iterator[Entry]:
    source, target = text(members.get("from")).strip("/"), text(members.get("to")).strip("/")
    if source.startswith("regex:"):
        draft.note(f"from: {shown(source)} chooses among all repositories of {shown(host)}: list those you want")
        return
    notes = without_equal("dregsy", members, _DREGSY_MAPPING)
    if target.startswith("regex:"):
        notes.append(f"to: {shown(target)} has no equal: set name:")
        target = ""
    platform = text(members.get("platform"))
    options = {"platforms": [platform]} if platform and platform != "all" else {}
    if not platform:
        draft.note(
            "a mapping of dregsy without a platform copies that of its machine; here all are copied: see platforms:"
        )
    known = Entry(escaped(f"{host}/{source}"), name=target or source, to=to, options=options)
    verbatim, filters, more = _dregsy_tags(texts(members.get("tags")))
    if verbatim:
        yield replace(known, tags=verbatim, notes=tuple(notes))
    if filters or not verbatim:
        yield replace(known, filters=filters or ALL_TAGS, notes=(*notes, *more))


def _dregsy_tags(tags: list[str]) -> tuple[tuple[str, ...], dict[str, Any], list[str]]:
    """Return exact tags, filters and notes. Exact tags are an entry of their own: keep does not apply to them."""
    words: dict[str, list[str]] = {"semver": [], "regex": [], "keep": [], "": []}
    for tag in tags:
        word, colon, rest = tag.partition(":")
        kind = word if colon and word in words else ""
        words[kind].append(rest.strip() if kind else tag)
    notes = []
    filters: dict[str, Any] = {}
    wanted = [expression for expression in words["regex"] if not expression.startswith("!")]
    unwanted = [expression[1:].strip() for expression in words["regex"] if expression.startswith("!")]
    if words["semver"]:
        filters["semver"] = " || ".join(words["semver"])
    if wanted:
        filters["regex"] = any_of(wanted)
    if unwanted and not filters:
        filters |= {**ALL_TAGS, "exclude_regex": unwanted}
    elif unwanted:
        notes += [
            f"regex: !{expression} adds what it does not match, which has no equal next to others"
            for expression in unwanted
        ]
    if not filters and words["keep"] and not words[""]:
        filters |= ALL_TAGS
    for expression in words["keep"] if filters else ():
        notes += _keep(expression, filters)
    return tuple(words[""]), filters, notes


def _keep(expression: str, filters: dict[str, Any]) -> list[str]:
    latest = re.fullmatch(r"latest\s+([1-9]\d{0,8})", expression)
    if latest:
        filters["newest"] = int(latest[1])
        return ["dregsy's keep: latest also keeps tags that are not versions; newest leaves them out"]
    key, rest = ("exclude_regex", expression[1:].strip()) if expression.startswith("!") else ("keep", expression)
    filters.setdefault(key, []).append(rest)
    return []
