"""Image references in Kubernetes YAML, kustomizations, values.yaml and compose files, and these files with other ones.

Only the references change: every other byte stays as it is, with comments, quotes and indentation. A YAML writer would
keep the comments and still break lines and quotes in another way, and the diff for a review would show all of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, NamedTuple

from mirrorsync.errors import GrammarError, UsageError
from mirrorsync.foreign.draft import reference, shown
from mirrorsync.foreign.kubernetes import images_of
from mirrorsync.foreign.kustomize import Entry, Room, entries, post_rendered
from mirrorsync.foreign.manifests import (
    TAGS,
    Found,
    images_in,
    images_of_compose,
    is_compose,
    is_kubernetes,
    is_versioned,
    without_version,
)
from mirrorsync.foreign.yaml_documents import NotYaml, Written, documents
from mirrorsync.oci.reference import Reference

_BOM: Final = "\ufeff"
_BLOCK: Final = ("|", ">")


class Edit(NamedTuple):
    """What is replaced: the range of characters, the old text in it ("" if it is added, or all of it is), the new."""

    start: int
    end: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Use:
    """A place in a file that names an image. image: as it is written there. key: what it is under; line: from 1.

    reference: None if it cannot be read; without a tag and digest if other files have them. trouble: why it cannot be
    read, or be replaced. replaces: of a kustomization, the name in other files that it replaces.
    """

    image: str
    key: str
    line: int
    reference: Reference | None
    trouble: str = ""
    replaces: str = ""
    _texts: Mapping[str, Written] = field(default_factory=dict)
    _rooms: Mapping[str, Room] = field(default_factory=dict)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """The characters of the file at which its texts start and end."""
        return tuple((one.start, one.end) for one in self._texts.values())

    @property
    def name(self) -> str:
        """What is before the tag and the digest, if a kustomization replaces images of this name here, else ""."""
        return without_version(self.image) if [*self._texts] == ["image"] else ""

    def is_in(self, whole: str) -> bool:
        """Return whether its texts are in a file letter by letter. whole: the text of the file."""
        return all(str(one) in whole[one.start : one.end] for one in self._texts.values())

    def edits(self, target: Reference) -> Iterator[Edit]:
        """Yield what is replaced, or added, so that it names `target`."""
        if [*self._texts] == [self.key]:
            one, after = self._texts[self.key], _written(target, versioned=is_versioned(self.image))
            if self.replaces:
                yield Edit(one.start, one.end, str(one), f"{self.replaces}={after}")
            else:
                yield Edit(one.start, one.end, self.image, after)  # an argument has more: `--image=quay.io/a/b:1`
            return
        for key, value in self._parts(target).items():
            written, room = self._texts.get(key), self._rooms.get(key)
            if written is not None and written != value:
                yield Edit(written.start, written.end, str(written), value)
            elif written is None and room is not None:
                yield Edit(room.start, room.start, "", f"{room.before}{value}{room.after}")

    def _parts(self, target: Reference) -> Mapping[str, str]:
        """Return the texts that name `target`, by their keys; some of them are not in the file."""
        store, repository = target.location.store, target.location.repository
        if self.replaces:
            made = {"newName": f"{store}/{repository}"}
            if target.tag is not None and "newTag" in self._texts:
                made["newTag"] = str(target.tag)
            return made if target.digest is None else {**made, "digest": str(target.digest)}
        name = "repository" if "repository" in self._texts else "image"
        versioned = is_versioned(self._texts[name])
        image = str(target) if versioned else f"{store}/{repository}"
        parts = {name: image.removeprefix(f"{store}/") if "registry" in self._texts else image, "registry": store}
        tag = next((key for key in TAGS if key in self._texts), "")
        if versioned or (not tag and "digest" not in self._texts):
            return parts
        if target.tag is not None:
            parts[tag] = target.tag
        if target.digest is not None:
            # Charts without a key for the digest put it after the tag, where Kubernetes accepts it.
            digested = "digest" in self._texts or not tag
            parts |= {"digest": str(target.digest)} if digested else {tag: f"{target.tag}@{target.digest}"}
        return parts


def _written(target: Reference, *, versioned: bool) -> str:
    """Return a reference as text. What is not written with a tag gets one only together with a digest."""
    store, repository = target.location.store, target.location.repository
    return str(target) if versioned or target.digest is not None else f"{store}/{repository}"


def find_images(data: bytes, name: str) -> tuple[Use, ...]:
    """Return the images that a file names, in the order of the file. name: of the file, for errors.

    Raises: UsageError if it is not YAML, with the remedy for a template.
    """
    try:
        values = documents(data, name, Written.of)
    except NotYaml as error:
        remedy = "it has templates: give the output of `helm template`" if b"{{" in data else "check its syntax"
        raise UsageError(f"{shown(name)} is not YAML: {error}", remedy=remedy) from error
    whole = data.decode("utf-8-sig")
    # The image of an anchor is found once for each alias.
    uses = {use.spans: _checked(use, whole) for value in values for use in _uses(value, name, whole)}
    return tuple(sorted(uses.values(), key=lambda use: use.line))


def _checked(use: Use, whole: str) -> Use:
    """Return the same, with the trouble that it is not in the file letter by letter, so that it cannot be replaced."""
    if use.trouble or use.is_in(whole):
        return use
    return replace(use, trouble="it is written with escapes, or over several lines; write it plainly")


def _uses(value: Any, name: str, whole: str) -> Iterator[Use]:
    replacing = entries(value, name, whole)
    if replacing is not None:
        yield from map(_replacing, replacing)
    elif is_kubernetes(value):
        yield from map(_use, images_of(value, partial(_inside, whole, name)))
        yield from map(_replacing, post_rendered(value, whole))
    elif is_compose(value):
        yield from map(_use, images_of_compose(value))
    else:
        yield from map(_use, images_in(value))


def _inside(whole: str, name: str, block: Written) -> list[Any] | None:
    """Return the documents in a `|` block of a file; None if it is not one, or not YAML.

    Its lines are read where they are in the file: indented, they are the same YAML.
    """
    start = whole.find("\n", block.start, block.end) + 1
    if block.style != "|" or not start:
        return None
    try:
        return documents(whole[start : block.end].encode(), name, partial(Written.of, start=start, line=block.line))
    except NotYaml:
        return None


def _replacing(entry: Entry) -> Use:
    known = _use(Found(entry.image, "images", entry.texts))
    trouble = known.trouble or entry.trouble
    named = known.reference
    if named is not None and not {"newTag", "digest"} & entry.texts.keys():
        named = replace(named, tag=None)
    name = entry.texts["name"]  # the other texts may be elsewhere, by an alias
    return replace(known, line=name.line, reference=named, trouble=trouble, replaces=str(name), _rooms=entry.rooms)


def _use(found: Found) -> Use:
    texts = {key: one for key, one in found.texts.items() if isinstance(one, Written)}
    line = min((one.line for one in texts.values()), default=0)
    if found.trouble:
        return Use(found.image, found.key, line, None, found.trouble, _texts=texts)
    try:
        written = reference(found.image)
        named = written.or_latest() if found.tagged else written
    except GrammarError as error:
        return Use(found.image, found.key, line, None, error.message, _texts=texts)
    trouble = "" if named.location.transport.is_registry else "it is not an image of a registry"
    if any(one.style in _BLOCK for one in texts.values()):
        trouble = "it is a block of text; write it on the line of its key"
    return Use(found.image, found.key, line, named, trouble, replaces=found.replaces, _texts=texts)


def replaced(data: bytes, targets: Iterable[tuple[Use, Reference]]) -> bytes:
    """Return a file with other images in the place of some. targets: uses that `find_images` returned for this file.

    Raises: UsageError if two images share a text by an anchor, and it would be another one for each.
    """
    whole = data.decode("utf-8")
    mark = _BOM if whole.startswith(_BOM) else ""
    old = whole.removeprefix(_BOM)
    made, end = [mark], 0
    for start, stop, before, after in _edits([(use, set(use.edits(target))) for use, target in targets]):
        span = old[start:stop]
        # An anchor before it may have the same name.
        head, _, tail = span.rpartition(before) if before else ("", "", "")
        new = after if before or not span else f'"{after}"'
        made += [old[end:start], head, new, tail]
        end = stop
    return "".join([*made, old[end:]]).encode()


def _edits(uses: Sequence[tuple[Use, Set[Edit]]]) -> list[Edit]:
    """Return the edits of all uses in the order of the file. Raises: UsageError if one would change another use."""
    edits = sorted({edit for _, own in uses for edit in own})
    changed: dict[tuple[int, int], Edit] = {}
    for _, own in uses:
        for edit in own:
            changed.setdefault((edit.start, edit.end), edit)
    for use, own in uses:
        if any(edit not in own for edit in map(changed.get, use.spans) if edit is not None):
            raise UsageError(
                f"line {use.line}: {shown(use.image)} shares a text with another image, and cannot be replaced alone",
                remedy="write its anchor out",
            )
    return edits
