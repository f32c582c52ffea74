"""Images that are mirrored in part: indexes without some of their images, and foreign layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.diff import diff
from mirrorsync.plan.inventory import Desired, Observed, Sparse, may_lack_images
from mirrorsync.plan.model import Image, Origin, Plan
from mirrorsync.plan.policies import Decision, Verdict
from mirrorsync.plan.steps import CopyBlob
from tests.plan.reader import STAMP

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
SOURCE, APP, OTHER = Location("src.example", "from"), Location("dst.example", "app"), Location("dst.example", "other")


def descriptor(name: str, media_type: str) -> Descriptor:
    return Descriptor(media_type, Digest.of(name.encode()), 1)


def made(name: str, *blobs: str) -> Manifest:
    layers = tuple(descriptor(blob, media_types.OCI_LAYER_GZIP) for blob in blobs)
    return Manifest(descriptor(name, media_types.OCI_MANIFEST), b"", blobs=layers)


def index(name: str, *children: Manifest) -> Manifest:
    listed = tuple(child.descriptor for child in children)
    return Manifest(descriptor(name, media_types.OCI_INDEX), b"", children=listed)


AMD, ARM = made("amd64", "layer of amd64"), made("arm64", "layer of arm64")
MULTI = index("multi", AMD, ARM)
OUTER = index("outer", MULTI)
ALL: Mapping[Digest, Manifest] = {one.digest: one for one in (AMD, ARM, MULTI, OUTER)}
WHOLE_AMD, WHOLE_ARM = (frozenset({one.digest, one.blobs[0].digest}) for one in (AMD, ARM))
LACKING = frozenset({(APP, MULTI.digest)})
NAMES = {
    **{f"put:{one.digest}@{APP}": name for one, name in ((AMD, "amd64"), (ARM, "arm64"), (MULTI, "multi"))},
    **{f"copy:{one.blobs[0].digest}": f"layer of {name}" for one, name in ((AMD, "amd64"), (ARM, "arm64"))},
    f"tag:{APP}:1": "tag",
}


def planned(
    root: Manifest,
    before: Manifest | None,
    contents: frozenset[Digest],
    *,
    sparse: Location | None = None,
    indexes: frozenset[tuple[Location, Digest]] = frozenset(),
    left_out: frozenset[Digest] = frozenset(),
    verdict: Verdict | None = None,
) -> Plan:
    image = Image(Origin(SOURCE, Tag("1")), APP, Tag("1"), root.descriptor, left_out=left_out)
    observed = Observed(
        {image: before.descriptor if before else None},
        contents={APP: contents},
        manifests=ALL,
        sparse=Sparse(frozenset({sparse} if sparse else ()), indexes),
        decisions={image: Decision(verdict, "a policy")} if verdict else {},
    )
    return diff(Desired((image,)), observed, spec=STAMP, created="")


@pytest.mark.parametrize(
    ("root", "before", "contents", "options", "state", "steps"),
    [
        # In a repository with indexes that lack images, an index that is present may lack some, too.
        (MULTI, MULTI, WHOLE_AMD | {MULTI.digest}, {"sparse": APP}, "incomplete", "layer of arm64, arm64, tag"),
        (MULTI, MULTI, WHOLE_AMD | WHOLE_ARM | {MULTI.digest}, {"sparse": APP}, "unchanged", ""),
        (MULTI, MULTI, WHOLE_AMD | {MULTI.digest}, {"sparse": OTHER}, "unchanged", ""),
        (MULTI, MULTI, WHOLE_AMD | {MULTI.digest}, {}, "unchanged", ""),
        # Or if it is known that it does.
        (MULTI, MULTI, WHOLE_AMD | {MULTI.digest}, {"indexes": LACKING}, "incomplete", "layer of arm64, arm64, tag"),
        (OUTER, OUTER, WHOLE_AMD | {MULTI.digest, OUTER.digest}, {"indexes": LACKING}, "unchanged", ""),
        (MULTI, MULTI, WHOLE_AMD | {MULTI.digest}, {"sparse": APP, "verdict": "keep"}, "unchanged", ""),
        (
            MULTI,
            MULTI,
            WHOLE_AMD | {MULTI.digest},
            {"sparse": APP, "verdict": "report"},
            "incomplete",
            "layer of arm64, arm64, tag",
        ),
        (AMD, AMD, frozenset(), {"sparse": APP}, "unchanged", ""),
        (OUTER, None, WHOLE_AMD | {MULTI.digest}, {"sparse": APP}, "new", "layer of arm64, arm64, multi, tag"),
        (OUTER, None, WHOLE_AMD | {MULTI.digest}, {}, "new", "tag"),
        # What is left out is not looked for and not copied.
        (MULTI, None, frozenset(), {"left_out": frozenset({ARM.digest})}, "new", "layer of amd64, amd64, tag"),
        (
            MULTI,
            MULTI,
            WHOLE_AMD | {MULTI.digest},
            {"sparse": APP, "left_out": frozenset({ARM.digest})},
            "unchanged",
            "",
        ),
    ],
)
def test_which_images_of_an_index_are_mirrored(
    root: Manifest, before: Manifest | None, contents: frozenset[Digest], options: dict[str, object], state: str,
    steps: str,
) -> None:  # fmt: skip
    plan = planned(root, before, contents, **options)  # type: ignore[arg-type]
    assert [change.state for change in plan.changes] == [state]
    assert ", ".join(NAMES.get(step.id, step.id) for step in plan.steps) == steps


@pytest.mark.parametrize(
    ("root", "sparse", "verdict", "may_lack"),
    [
        (MULTI, [APP, OTHER], None, True),
        (MULTI, [OTHER], None, False),  # not asked for at all: an index that is present vouches for its images
        (MULTI, [], None, False),
        (AMD, [APP], None, False),
        (MULTI, [APP], "keep", False),
        (MULTI, [APP], "delay", False),
        (MULTI, [APP], "update", True),
    ],
)
def test_whether_the_images_of_a_present_index_have_to_be_looked_for(
    root: Manifest, sparse: list[Location], verdict: Verdict | None, may_lack: bool
) -> None:
    image = Image(Origin(SOURCE, Tag("1")), APP, Tag("1"), root.descriptor)
    assert may_lack_images(image, Sparse(frozenset(sparse)), Decision(verdict, "why") if verdict else None) == may_lack


@pytest.mark.parametrize("foreign", [False, True])
def test_foreign_layers_are_copied_only_if_the_mirror_says_so(foreign: bool) -> None:
    layer = replace(descriptor("base", FOREIGN), urls=("https://a.example/b",))
    own = replace(AMD.blobs[0], urls=("https://a.example/c",))  # of a layer that is not foreign, they mean nothing
    manifest = replace(AMD, blobs=(own,), foreign=(layer,))
    image = Image(Origin(SOURCE, Tag("1")), APP, Tag("1"), AMD.descriptor, foreign=foreign)
    plan = diff(Desired((image,)), Observed({image: None}, manifests={AMD.digest: manifest}), spec=STAMP, created="")
    copied = [step.blob for step in plan.steps if isinstance(step, CopyBlob)]
    assert copied == [AMD.blobs[0], *([layer] if foreign else [])]
    assert [blob.urls for blob in copied] == [(), layer.urls][: len(copied)]
