"""Bundles and parity files that lie: an error of ours, and no more memory or recursion than honest ones take."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from mirrorsync.app.bundle.applying import answer_bundle, apply_bundle
from mirrorsync.app.bundle.exporting import export_bundle
from mirrorsync.bundle.model import Delta, Object, Whole, blob_name, delta_name
from mirrorsync.delta import form, zstd
from mirrorsync.delta.limits import CHUNK_BYTES
from mirrorsync.delta.model import Head
from mirrorsync.environment import Environment
from mirrorsync.errors import Malformed, Mismatch
from mirrorsync.files.parity.document import Covered, Parity, ParityFile, Shape, to_bytes
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.stores.bundle import BundleStore
from mirrorsync.sync.bundle.repairing import repair_files
from tests.parts.bundles import Packed, pack, with_members
from tests.parts.images import image, layer

APP = image([layer({"a": b"1"})])


def chain(depth: int) -> Packed:
    """Return a bundle with an index of an index of an index, as its document says."""
    raw = [f"index {number}".encode() for number in range(depth)]
    contents = [Descriptor.of(one, media_types.OCI_INDEX) for one in raw]
    objects = [
        Object(one, True, ("app",), (below.digest,) if below else (), Whole((1,)))
        for one, below in zip(contents, [*contents[1:], None], strict=True)
    ]
    bundle = pack({"app:1": APP}).bundle
    images = (replace(bundle.images[0], content=contents[0]),)
    bundle = replace(bundle, images=images, objects=tuple(sorted(objects, key=lambda one: one.digest)))
    members = {blob_name(one.digest): data for one, data in zip(contents, raw, strict=True)}
    return Packed(with_members(bundle), members)


def test_an_index_of_a_thousand_indexes_is_a_failure_of_its_image(tmp_path: Path) -> None:
    packed = chain(1100)
    far, environment = f"oci:{tmp_path / 'far'}", Environment(state_directory=tmp_path / "state")
    medium = packed.write(tmp_path / "usb", parts=frozenset())
    with pytest.raises(Malformed, match="nests deeper than 8 indexes"):
        asyncio.run(answer_bundle(medium, far, environment=environment))
    packed.write(medium)
    done = asyncio.run(apply_bundle(medium, [far], environment=environment))
    assert ["nests deeper" in one.error.message for one in done.report.failures] == [True]


def test_a_small_blob_is_not_read_beyond_its_size_if_its_delta_makes_more(tmp_path: Path) -> None:
    packed = pack({"app:1": image([layer({"a": b"1"}), layer({"b": b"2"})])})
    base, small = (one for one in packed.bundle.objects if one.content.media_type == media_types.OCI_LAYER_GZIP)
    head = Head(base.digest, base.content.size, False, small.digest, 1 << 40, False, CHUNK_BYTES)
    zeros = zstd.compressed(bytes(1 << 20), zstd.Prefix(), 3)
    segment = form.Segment(1 << 20, [], zeros, 0, 0, b"", by_old=False)
    delta = form.head_bytes(head) + form.segment_bytes(segment) + form.end_bytes()
    told = Delta(1, len(delta), Digest.of(delta), base.digest, "mirrorsync-1")
    objects = tuple(replace(one, form=told) if one is small else one for one in packed.bundle.objects)
    members = {**packed.content, delta_name(small.digest): delta}
    medium = Packed(with_members(replace(packed.bundle, objects=objects)), members).write(tmp_path / "usb")
    with pytest.raises(Mismatch, match=f"has more than the {small.content.size} bytes its descriptor says"):
        asyncio.run(BundleStore(medium).repository("app").read(small.content))


def test_an_image_of_no_source_is_left_out_and_the_others_are_exported(tmp_path: Path) -> None:
    bundle = pack({"app:1": APP, "other:1": APP}).bundle
    images = (replace(bundle.images[0], source="not a name"), bundle.images[1])
    packed = replace(pack({"app:1": APP, "other:1": APP}), bundle=with_members(replace(bundle, images=images)))
    medium = packed.write(tmp_path / "usb")
    done = asyncio.run(export_bundle(medium, "podman", str(tmp_path / "node")))
    assert [one.name for one in done.archives] == ["docker.io/library/other:1"]
    assert [one.name for one in done.unwritten] == ["app:1"]


def test_parity_of_a_document_of_exabytes_is_refused(tmp_path: Path) -> None:
    shape = Shape((1 << 59,), 1)
    sums = tuple(["0" * 32] * shape.starts[-1])
    covered = (Covered("shop-000001.json", 1 << 59, sums),)
    files = (ParityFile("shop-000001.parity-01.par", 0, 1, sums[: shape.stripes]),)
    document = to_bytes(Parity(Digest.of(b"it"), shape, covered, files))
    (tmp_path / "shop-000001.parity.json").write_bytes(document)
    with pytest.raises(Malformed, match="are not of a bundle"):
        repair_files(tmp_path, "shop-000001", None, lambda _: None)
