"""Documents whose manifests need each other in depth, in width or in circles cost what they list, and no recursion."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from mirrorsync.bundle.answered import FarSide, far_side, incomplete, known_of
from mirrorsync.bundle.graph import bottom_up, closure, dependents
from mirrorsync.bundle.layout import index_json
from mirrorsync.bundle.model import Bundle, Image, Object, Part, Whole
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from tests.bundle.values import example

Graph = Mapping[int, Sequence[int]]


def chain(count: int) -> dict[int, Sequence[int]]:
    """Return objects each of which needs the next one."""
    return {number: range(number + 1, min(number + 2, count)) for number in range(count)}


def diamonds(rows: int, width: int) -> Graph:
    """Return rows of objects that need every object of the next row: width ** rows ways lead from 0 to the last."""
    first, last = 0, rows * width + 1
    graph: dict[int, Sequence[int]] = {first: range(1, width + 1), last: []}
    for row in range(rows):
        below = range((row + 1) * width + 1, (row + 2) * width + 1) if row < rows - 1 else [last]
        graph |= dict.fromkeys(range(row * width + 1, (row + 1) * width + 1), below)
    return dict(sorted(graph.items()))


# The graph, and whether all that 0 needs can be had.
GRAPHS: dict[str, tuple[Callable[[], Graph], bool]] = {
    "a chain": (lambda: chain(5000), True),
    "diamonds": (lambda: diamonds(30, 20), True),
    "one wide diamond": (lambda: diamonds(1, 5000), True),
    "a circle": (lambda: chain(2000) | {1999: [0]}, False),
    "above a circle": (lambda: chain(1000) | {999: [500]}, False),
}


class Counted(dict[Digest, tuple[Digest, ...]]):
    """Needs that count how many of them were read."""

    read = 0

    def __getitem__(self, digest: Digest) -> tuple[Digest, ...]:
        found = super().__getitem__(digest)
        self.read += len(found) + 1
        return found

    def get(self, digest: Digest, other: object = None) -> object:  # type: ignore[override]
        self.read += 1
        found = super().get(digest, ())
        self.read += len(found)
        return super().get(digest, other)

    def items(self) -> object:  # type: ignore[override]
        self.read += len(self) + sum(map(len, self.values()))
        return super().items()


def content(number: int) -> Descriptor:
    return Descriptor(media_types.OCI_INDEX, Digest.of(b"%d" % number), 1)


def bundle(graph: Graph) -> Bundle:
    """Return a bundle of one part with these manifests, each of which is an image of its own, too."""
    known = {number: content(number) for number in graph}
    objects = tuple(
        Object(known[number], True, ("app",), tuple(known[need].digest for need in needs), Whole((1,)))
        for number, needs in graph.items()
    )
    images = tuple(Image("app", Tag(f"t{number}"), known[number], "src.example/app") for number in graph)
    part = Part("shop-000007.001of001.tar", 0, Digest.of(b""), ())
    return replace(example(), images=images, objects=objects, assumes=(), parts=(part,))


@pytest.mark.parametrize("case", GRAPHS)
def test_a_graph_costs_what_it_lists_and_circles_are_never_whole(case: str) -> None:
    made, whole = GRAPHS[case]
    one = bundle(made())
    needs = Counted({each.digest: each.needs for each in one.objects})
    known = replace(known_of([one]), needs=needs)
    top, bottom = one.objects[0].digest, one.objects[-1].digest

    assert len(closure([top], needs)) == len(dependents([bottom], needs)) == len(needs)
    place = {digest: number for number, digest in enumerate(bottom_up(needs))}
    assert len(place) == (len(needs) if whole else 0)
    assert all(place[need] < place[each.digest] for each in one.objects for need in each.needs if whole)

    listed = {each["digest"] for each in json.loads(index_json(one, 1))["manifests"]}
    assert listed == ({str(digest) for digest in needs} if whole else set())

    assert incomplete(one, frozenset({bottom}), known) == one.images
    assert not far_side(one, frozenset({bottom}), known).held.repositories
    assert len(far_side(one, frozenset(), known).held.repositories["app"].tags) == len(one.images)
    later = FarSide(known)
    later.add(one)
    assert len(later.there) == (len(needs) if whole else 0)
    assert needs.read <= 20 * sum(1 + len(each.needs) for each in one.objects), "in proportion to what is listed"
