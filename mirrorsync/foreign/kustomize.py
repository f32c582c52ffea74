"""The `images:` of kustomizations: images that replace those of other files by name.

An entry has the `name` that the other files use, and what is written for it: `newName`, `newTag` and `digest`, each as
it was if it is missing (kustomize, api/filters/imagetag). Only what is written can be another one, not the `name`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mirrorsync.foreign.yaml_documents import Written, mapping, mappings, text

_FILES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_OWN: Final = "kustomize.config.k8s.io"
_FLUX: Final = "kustomize.toolkit.fluxcd.io"
_FLUX_HELM: Final = "helm.toolkit.fluxcd.io"
_KEYS: Final = ("newName", "newTag", "digest")
_LINE: Final = re.compile(r"[^\r\n]*(\r?\n|\Z)")
_BETWEEN: Final = re.compile(r"\s*+:(?:\s++[&!]\S*+)*+\s*+")
# What follows a scalar inside of braces: blanks and comments, then the next key or the end.
_IN_BRACES: Final = re.compile(r"(?:\s|#[^\r\n]*+)*+[,}]")


@dataclass(frozen=True, slots=True)
class Room:
    """Where a key that an entry does not have can be written: the position in the file, and what is before a value.

    after: what is behind it.
    """

    start: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry. texts: by their keys; rooms: for keys that it does not have; trouble: why it cannot change, or ""."""

    texts: Mapping[str, Written]
    rooms: Mapping[str, Room]
    trouble: str

    @property
    def image(self) -> str:
        """The image that is written into the other files; without a tag and digest if these decide."""
        tag, digest = text(self.texts.get("newTag")), text(self.texts.get("digest"))
        name = text(self.texts.get("newName")) or self.texts["name"]
        return f"{name}{f':{tag}' if tag else ''}{f'@{digest}' if digest else ''}"


def entries(value: Any, name: str, whole: str) -> Iterator[Entry] | None:
    """Return the entries of a kustomization, kustomize's own or Flux's; None for other documents.

    name: of the file. whole: its text, which the marks of the scalars count in.
    """
    group, kind = text(mapping(value).get("apiVersion")).rpartition("/")[0], text(mapping(value).get("kind"))
    if group == _FLUX and kind == "Kustomization":
        return _entries(mapping(value.get("spec")).get("images"), whole)
    if group == _OWN or (not group and (kind == "Kustomization" or (not kind and posixpath.basename(name) in _FILES))):
        return _entries(mapping(value).get("images"), whole)
    return None


def post_rendered(value: Any, whole: str) -> Iterator[Entry]:
    """Yield the entries of Flux's HelmRelease, whose `postRenderers:` replace images of what a chart renders."""
    if text(mapping(value).get("apiVersion")).rpartition("/")[0] == _FLUX_HELM:
        for renderer in mappings(mapping(value.get("spec")).get("postRenderers")):
            yield from _entries(mapping(renderer.get("kustomize")).get("images"), whole)


def _entries(listed: Any, whole: str) -> Iterator[Entry]:
    for one in mappings(listed):
        texts = {key: found for key in ("name", *_KEYS) if isinstance(found := one.get(key), Written)}
        if not texts.get("name"):
            continue
        own = [key for key in one if isinstance(key, Written) and _is_own(key, texts.get(key), whole)]
        empty = next((key for key in _KEYS if key in one and key not in texts), "")
        shared = next((key for key in ("name", "newName", "digest") if key in texts and key not in own), "")
        if empty:
            yield Entry(texts, {}, f"its {empty}: is empty; delete the key")
        elif shared:
            yield Entry(texts, {}, f"its {shared}: is an alias; write it out")
        else:
            key = next(key for key in own if key == "name")
            last = next(texts[name] for name in ("newTag", "newName", "name") if name in own)
            after = {"newName": texts["name"], "digest": last}
            rooms = {name: _room(name, key, scalar, whole) for name, scalar in after.items() if name not in texts}
            yield Entry(texts, rooms, "")


def _is_own(key: Written, value: Written | None, whole: str) -> bool:
    """Return whether a value is behind its key, and not elsewhere in the file, where an alias leads to."""
    return value is not None and _BETWEEN.fullmatch(whole, key.end, max(key.end, value.start)) is not None


def _room(name: str, key: Written, scalar: Written, whole: str) -> Room:
    """Return the room for a key behind a scalar of the same entry. key: one of the entry, for its indentation."""
    if _IN_BRACES.match(whole, scalar.end):
        quote = key.style or ""
        return Room(scalar.end, f", {quote}{name}{quote}: {quote}", quote)
    indent = " " * (key.start - whole.rfind("\n", 0, key.start) - 1)
    end = _LINE.match(whole, scalar.end)
    start, newline = (end.start(1), end[1]) if end else (scalar.end, "")
    return Room(start, f"{newline or chr(10)}{indent}{name}: ", "")
