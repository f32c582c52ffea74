"""Custom resources that deploy charts and kustomizations with other images: Argo CD's, and the HelmChart of k3s.

Their fields are those of argoproj.io/v1alpha1 (argo-cd, pkg/apis/application/v1alpha1/types.go) and of
helm.cattle.io/v1 (k3s-io/helm-controller, pkg/apis/helm.cattle.io/v1/types.go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mirrorsync.foreign.manifests import IMAGE_PARTS, Found, images_in, is_versioned, of_parts, without_version
from mirrorsync.foreign.yaml_documents import Written, mappings, text, texts

GROUPS: Final = frozenset(("argoproj.io", "helm.cattle.io"))
_NOT_READ: Final = "it is not YAML by itself, or not a `|` block, and was not searched for images"

# Returns the documents in a text of YAML, with scalars that know where they are in the file; None if it has none.
Inside = Callable[[Written], list[Any] | None]


def images_of_deployer(value: Any, inside: Inside) -> Iterator[Found]:
    """Yield the images of such a resource: those for kustomize, of the values of charts, and in all other fields."""
    taken: list[tuple[tuple[str, str], Any]] = []
    yield from images_in(_without_fields(value, "", taken))
    for field, member in taken:
        yield from _FIELDS[field](member, inside)


def _without_fields(value: Any, parent: str, taken: list[tuple[tuple[str, str], Any]]) -> Any:
    """Return a value without the members of _FIELDS, which are added to `taken`. parent: the key that it is under."""
    if isinstance(value, list):
        return [_without_fields(one, parent, taken) for one in value]
    if not isinstance(value, dict):
        return value
    taken += [((parent, key), member) for key, member in value.items() if (parent, key) in _FIELDS]
    rest = {key: member for key, member in value.items() if (parent, key) not in _FIELDS}
    return {key: _without_fields(member, key, taken) for key, member in rest.items()}


def _overrides(value: Any, _inside: Inside) -> Iterator[Found]:
    """Yield the images of `NAME=IMAGE`, or of IMAGE alone, whose name is then that which it replaces."""
    for one in texts(value):
        name, _, image = one.rpartition("=")
        replaces = name or without_version(image)
        yield Found(image, "images", {"images": one}, tagged=is_versioned(image), replaces=replaces)


def _parameters(value: Any, _inside: Inside) -> Iterator[Found]:
    """Yield the images of `{name: web.image.repository, value: quay.io/a/b}` and those next to it (.registry, .tag)."""
    parts: dict[str, dict[str, str]] = {}
    for one in mappings(value):
        folder, _, key = text(one.get("name")).rpartition(".")
        if key in IMAGE_PARTS:
            parts.setdefault(folder, {})[key] = text(one.get("value"))
        else:
            yield from images_in(one.get("value"), key)
    for folder, found in parts.items():
        name = found.get("repository") or found.get("image", "")
        # That of a chart's git is a repository, too.
        is_image = "image" in found or folder.lower().endswith("image") or len(found) > 1
        if name and "://" not in name and is_image:
            yield of_parts(found)


def _text(value: Any, inside: Inside) -> Iterator[Found]:
    """Yield the images of the values of a chart in a text."""
    if not isinstance(value, Written) or not value.strip():
        return
    found = inside(value)
    if found is None:
        yield Found("values", "values", {"values": value}, trouble=_NOT_READ)
    else:
        yield from images_in(found)


# The fields that mean more than their texts say, by the key that they are in and their own.
_FIELDS: Final[Mapping[tuple[str, str], Callable[[Any, Inside], Iterator[Found]]]] = {
    ("kustomize", "images"): _overrides,
    ("helm", "parameters"): _parameters,
    ("helm", "values"): _text,
    ("spec", "valuesContent"): _text,
}
