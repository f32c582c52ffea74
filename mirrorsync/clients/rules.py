"""The rules of a spec: what its mirrors store at one destination, by the names that clients pull."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from mirrorsync.clients.model import Lost, Rule
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import host_and_path, registry_name
from mirrorsync.spec.model import Destination, Mirror

_SHOWN: Final = 3


def rules_of(
    mirrors: Sequence[Mirror], destination: Destination
) -> tuple[tuple[Rule, ...], tuple[Lost, ...], tuple[str, ...]]:
    """Return the rules of the mirrors of a destination, what no client can express of them, and notes for people.

    A repository of several mirrors is one rule if it has one name at the destination.
    """
    rules: dict[tuple[str, str, str], Rule] = {}
    lost: list[Lost] = []
    notes: list[str] = []
    for mirror in mirrors:
        rule = _rule(mirror, destination)
        if rule is None:
            notes.append(
                f"{mirror.source} is not a registry's: its images are only known by their names at the destination"
            )
            continue
        key = (rule.host, rule.name, rule.target)
        known = rules.get(key)
        rules[key] = rule if known is None else replace(known, mirrors=known.mirrors + rule.mirrors)
        lost += _renamed(mirror, rule)
    notes += _narrowed(mirrors)
    return tuple(rules.values()), tuple(lost), tuple(notes)


def _rule(mirror: Mirror, destination: Destination) -> Rule | None:
    known = registry_name(mirror.source)
    if known is None:
        return None
    host, repository = known.store, known.repository
    tag = next((str(one.ref) for one in mirror.selection.exact if isinstance(one.ref, Tag)), "")
    if mirror.namespace is None:
        target = mirror.target(destination, mirror.source.repository).repository
        return Rule(host, repository, target, (mirror.pointer,), None, tag)
    if not mirror.source.transport.is_registry:
        return None  # whichever hosts the names in the store have
    target = "/".join(part for part in (destination.location.repository, _template(mirror)) if part)
    return Rule(host, repository, target, (mirror.pointer,), mirror.namespace, tag)


def _template(mirror: Mirror) -> str:
    """Return a mirror's template with {host} filled in."""
    host = host_and_path(mirror.source)[0]
    pieces = string.Formatter().parse(mirror.template)
    return "".join(
        text + ("" if field is None else host if field == "host" else f"{{{field}}}") for text, field, *_ in pieces
    )


def _renamed(mirror: Mirror, rule: Rule) -> Iterator[Lost]:
    """Yield the images that have another tag at the destination: clients can rename repositories, not tags."""
    for wanted in mirror.selection.exact:
        before = wanted.source_tag
        if before is not None and wanted.tag is not None and before != wanted.tag:
            yield Lost(replace(rule, mirrors=(mirror.pointer,)), f"its tag {before} is {wanted.tag} at the destination")


def _narrowed(mirrors: Sequence[Mirror]) -> Iterator[str]:
    """Yield a note about indexes that have another digest at the destination."""
    found = list(dict.fromkeys(str(one.source) for one in mirrors if one.platforms and not one.sparse))
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        names = ", ".join(found[:_SHOWN]) + more
        yield (
            f"only some platforms are mirrored of {names}: their indexes have other digests at the destination, and a "
            "manifest that pins an index by its digest does not find it there (index: sparse keeps the digests)"
        )
