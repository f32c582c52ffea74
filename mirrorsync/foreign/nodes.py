"""The images that nodes have, as crictl, kubectl, podman and docker print them as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from mirrorsync.errors import GrammarError, UsageError
from mirrorsync.foreign.draft import reference, shown
from mirrorsync.foreign.yaml_documents import mapping, mappings, text, texts
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.json_weight import json_weight
from mirrorsync.oci.reference import Location, Reference

# In bytes of memory, as json_weight estimates it: the pods of the largest clusters.
_MAX_WEIGHT: Final = 2 * 1024**3
_NO_NAME: Final = "<none>"
# What Docker's shim wrote before the digests of pods.
_PULLABLE: Final = "docker-pullable://"


@dataclass(frozen=True, slots=True)
class Used:
    """An image that a node has, or a pod runs.

    digests: those that it has there, of the index or of one platform; empty if they are not known. at: the file, or
    the pod in it.
    """

    reference: Reference
    digests: frozenset[Digest]
    at: str


@dataclass(slots=True)
class Node:
    """The images in one file, and the names in it that are not references."""

    used: list[Used] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def add(self, name: str, digests: frozenset[Digest], at: str) -> None:
        """Add an image by its name."""
        try:
            self.used.append(Used(reference(name).or_latest(), digests, at))
        except GrammarError:
            self.unread.append(name)


def read_node(data: bytes, name: str) -> Node:
    """Return the images of a file; name: of the file. Raises: UsageError if it is none of the known formats."""
    if json_weight(data) > _MAX_WEIGHT:
        raise UsageError(f"{shown(name)} is larger than is read", remedy="give the nodes one by one")
    try:
        value = _parsed(data)
    except (ValueError, RecursionError) as error:
        raise _unknown(name) from error
    read = next((read for matches, read in _FORMATS if matches(value)), None)
    if read is None:
        raise _unknown(name)
    node = Node()
    read(value, node, name)
    return node


def _parsed(data: bytes) -> Any:
    """Return a JSON document, or the list of those that are one a line, as docker prints them. Raises: ValueError."""
    try:
        return json.loads(data)
    except ValueError:
        lines = [line for line in data.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        return [json.loads(line) for line in lines]


def _unknown(name: str) -> UsageError:
    return UsageError(
        f"{shown(name)} has no images of nodes",
        remedy="give the output of `crictl images -o json`, `kubectl get pods -A -o json`,"
        " `podman images --format json` or `docker images --digests --format json`",
    )


def _read_crictl(value: Any, node: Node, at: str) -> None:
    for image in mappings(value["images"]):
        _add_all(node, texts(image.get("repoTags")), texts(image.get("repoDigests")), at)


def _read_podman(value: Any, node: Node, at: str) -> None:
    for image in mappings(value):
        names = texts(image.get("Names")) or texts(image.get("RepoTags"))
        _add_all(node, [one for one in names if "@" not in one], texts(image.get("RepoDigests")), at)


def _read_docker(value: Any, node: Node, at: str) -> None:
    for image in mappings(value if isinstance(value, list) else [value]):
        repository, tag, digest = (text(image.get(key)) for key in ("Repository", "Tag", "Digest"))
        _add_all(node, [f"{repository}:{tag}"], [f"{repository}@{digest}"] if digest else [], at)


def _add_all(node: Node, names: list[str], by_digest: list[str], at: str) -> None:
    """Add an image by its tags, or else by its digests."""
    tags = [name for name in names if _NO_NAME not in name]
    named = [name for name in by_digest if _NO_NAME not in name]
    for name in tags or named:
        node.add(name, frozenset(_digests(named)), at)


def _read_pods(value: Any, node: Node, at: str) -> None:
    pods = mappings(value.get("items")) if "items" in value else [value]
    for pod in pods:
        metadata, status, spec = (mapping(pod.get(key)) for key in ("metadata", "status", "spec"))
        name = f"{text(metadata.get('namespace')) or 'default'}/{text(metadata.get('name'))}"
        where = f"{at}: {shown(name, 200)}"
        pulled = {text(one.get("name")): text(one.get("imageID")) for one in _containers(status, "Statuses")}
        for container in _containers(spec, "s"):
            image_id = pulled.get(text(container.get("name")), "").removeprefix(_PULLABLE)
            node.add(text(container.get("image")), frozenset(_digests([image_id])), where)
        for volume in mappings(spec.get("volumes")):
            written = text(mapping(volume.get("image")).get("reference"))
            if written:
                node.add(written, frozenset(), where)


def _containers(value: dict[str, Any], end: str) -> Iterator[dict[str, Any]]:
    for kind in ("initContainer", "container", "ephemeralContainer"):
        yield from mappings(value.get(kind + end))


def _digests(names: list[str]) -> Iterator[Digest]:
    """Yield the digests in `name@digest`. An ID alone is that of a config, which no registry resolves."""
    for name in names:
        _, at, digest = name.rpartition("@")
        try:
            if at:
                yield Digest(digest)
        except GrammarError:
            continue


def _is_pods(value: Any) -> bool:
    kinds = {text(mapping(one).get("kind")) for one in (value, *mappings(mapping(value).get("items")))}
    return bool(kinds & {"Pod", "PodList"}) or (kinds == {"List"} and mapping(value).get("items") == [])


_FORMATS: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any, Node, str], None]], ...]] = (
    (_is_pods, _read_pods),
    (lambda value: isinstance(mapping(value).get("images"), list), _read_crictl),
    (lambda value: isinstance(value, list) and all("Id" in mapping(one) for one in value), _read_podman),
    (
        lambda value: all("Repository" in mapping(one) for one in (value if isinstance(value, list) else [value])),
        _read_docker,
    ),
)


def merged(used: list[Used]) -> dict[tuple[Location, str], Used]:
    """Return each image once, with all the digests and places that it has. at: of several, joined by ", "."""
    found: dict[tuple[Location, str], list[Used]] = {}
    for one in used:
        found.setdefault((one.reference.location, str(one.reference)), []).append(one)
    return {key: _joined(same) for key, same in found.items()}


def _joined(same: list[Used]) -> Used:
    places = dict.fromkeys(one.at for one in same)
    return Used(same[0].reference, frozenset[Digest]().union(*(one.digests for one in same)), ", ".join(places))
