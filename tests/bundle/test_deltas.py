"""Layers go as deltas of those that the far side has: made, carried and rebuilt; whole if anything is in the way."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rich.filesize import decimal

import mirrorsync.delta.compiled as compiled
import mirrorsync.sync.bundle.deltas as deltas
from mirrorsync.app.bundle.applying import Rules, apply_bundle, inspect_bundle, verify_bundle
from mirrorsync.app.bundle.creating import Bundled, Wanted, create_bundle, plan_bundle
from mirrorsync.app.bundle.inventories import make_inventory, save_inventory
from mirrorsync.app.bundle.parts import write_parts_again
from mirrorsync.app.runs import apply_plan, apply_spec, copy_image, make_plan
from mirrorsync.app.specs import load_spec
from mirrorsync.bundle.model import Delta, Object, Pieces, delta_name
from mirrorsync.bundle.packing import pack
from mirrorsync.cli.output.bundles import inspected_lines
from mirrorsync.cli.output.made_bundles import bundle_summary
from mirrorsync.delta import DeltasUnavailable
from mirrorsync.documents.bundle import bundle_document
from mirrorsync.environment import Environment
from mirrorsync.errors import ContentNotFound
from mirrorsync.events import BytesMoved, Event, Noticed, TransferPlanned
from mirrorsync.sync.bundle.imported import Imported
from mirrorsync.sync.run.report import Report
from tests.bundle.test_pipes import Pipe
from tests.bundle.test_round_trip import Gap, gap  # noqa: F401 - a fixture
from tests.delta.samples import changed, content, zlib_like
from tests.parts.images import Image, image, layer, write_layout

SIZE = 1_500_000


@cache
def versions() -> tuple[Image, Image]:
    """Return an image and its next version: of two layers, one is the same, and of the other little has changed."""
    old = content(SIZE)
    base = layer({"etc/os-release": b"busybox"})
    compress = zlib_like(6)
    tars = [layer({"data": data}, compress=False) for data in (old, changed(old))]
    return image([base, compress(tars[0])]), image([base, compress(tars[1])])


class Sides:
    """A source that has both versions, a far side that has the old one, and what is carried between them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.far, self.source = directory / "far", directory / "source"
        self.events: list[Event] = []
        self.environment = Environment(state_directory=directory / "state", observer=self.events.append)
        old, new = versions()
        write_layout(self.source, {"app:1": new, "app:0": old})
        write_layout(self.far, {"app:1": old, "app:0": old})
        inventory = asyncio.run(make_inventory(f"oci:{self.far}"))[0]
        save_inventory(inventory, str(directory / "far.json"))
        spec = {"version": 1, "destinations": {"corp": "oci:far"}, "defaults": {"to": ["corp"]}}
        mirrors = [{"from": "oci:source:app", "tags": {"all": True}}]
        (directory / "shop.yaml").write_text(json.dumps({**spec, "mirrors": mirrors}))
        self.spec = load_spec(directory / "shop.yaml")

    def create(self, output: str = "out", *, have: str = "far.json", **fields: Any) -> Bundled:
        path = str(self.directory / have) if have.endswith(".json") else have
        wanted = Wanted(self.spec, (path,) if have else (), **fields)
        return asyncio.run(create_bundle(wanted, str(self.directory / output), environment=self.environment))

    def apply(self, path: str = "out", code: int = 0) -> Imported:
        place = path if path == "-" else self.directory / path
        rules = Rules(elsewhere=True)
        done = asyncio.run(apply_bundle(place, [f"oci:{self.far}"], rules, environment=self.environment))
        assert int(done.exit_code) == code, [str(failure.error) for failure in done.report.failures]
        return done

    @property
    def notices(self) -> str:
        return "\n".join(one.message for one in self.events if isinstance(one, Noticed))

    def blob(self, digest: str) -> Path:
        return self.far / "blobs/sha256" / digest.removeprefix("sha256:")

    def holds(self, made: Image) -> bool:
        blobs: Mapping[str, bytes] = {**made.blobs, made.digest: made.raw}
        named = made.digest in (self.far / "index.json").read_text()
        return named and all(self.blob(key).exists() and self.blob(key).read_bytes() == blobs[key] for key in blobs)


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides(tmp_path)


def layers() -> tuple[str, str]:
    """Return the digests of the old and of the new layer."""
    old, new = versions()
    return list(old.blobs)[-1], list(new.blobs)[-1]


def the_delta(made: Bundled) -> tuple[Object, Delta]:
    assert made.bundle is not None
    (one,) = made.bundle.deltas
    assert isinstance(one.form, Delta)
    return one, one.form


def test_a_layer_is_carried_as_a_delta_and_rebuilt_bit_for_bit(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = layers()
    for have, told in (((), "in 1 part"), ((str(sides.directory / "far.json"),), "in 1 part before deltas")):
        planned = plan_bundle(Wanted(sides.spec, have), environment=sides.environment)
        assert bundle_summary(asyncio.run(planned), "").endswith(told)
    done = sides.create()
    one, form = the_delta(done)
    assert (one.digest, form.base, form.kind) == (new, old, "mirrorsync-1")
    assert form.size < 0.2 * one.content.size
    assert done.bundle is not None
    assert done.bundle.bytes_saved == one.content.size - form.size
    assert next(known for known in done.bundle.assumes if known.digest == old).repositories == ("app",)
    assert asyncio.run(verify_bundle(sides.directory / "out")).findings == ()
    assert sorted(path.name for path in (sides.directory / "out").iterdir()) == [
        "shop-000001.001of001.tar", "shop-000001.json", "shop-000001.sha256",
    ]  # fmt: skip
    saved = decimal(done.bundle.bytes_saved)
    assert f"; 1 delta saves {saved}" in bundle_summary(done, "out")
    inspected = inspect_bundle(sides.directory / "out")
    assert f"deltas: 1, {saved} less than their blobs" in list(inspected_lines(inspected, whole=False))
    assert bundle_document(inspected)["deltas"] == {"count": 1, "saved": done.bundle.bytes_saved}
    part = sides.directory / "out" / done.bundle.parts[0].name
    again = write_parts_again(
        sides.spec, str(sides.directory / "out"), [1], str(sides.directory / "again"), environment=sides.environment
    )
    asyncio.run(again)
    assert (sides.directory / "again" / part.name).read_bytes() == part.read_bytes()
    copy = Sides(sides.directory / "second")
    sides.apply()
    assert sides.holds(versions()[1])
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": Pipe(part.read_bytes())}))
    copy.apply("-")
    assert copy.holds(versions()[1])


@pytest.mark.usefixtures("sides")
def test_registries_get_the_rebuilt_layer(gap: Gap) -> None:  # noqa: F811 - the fixture
    old, new = versions()
    gap.push("db:1", old)
    gap.push("app:1", old)
    gap.carry("first")
    gap.push("app:1", new)
    done = gap.carry("second", "sent")
    assert int(done.exit_code) == 0
    assert [one.digest for one in done.bundle.deltas] == [layers()[1]]
    assert done.report.counts.bytes_written >= len(new.blobs[layers()[1]])
    assert gap.destination.holds(gap.name(done, "app"), new, "1")


def test_images_wait_if_the_destination_lost_what_the_delta_is_against(sides: Sides) -> None:
    old, new = layers()
    sides.create()
    sides.create("whole", deltas=False)
    sides.blob(old).unlink()
    done = sides.apply(code=3)
    (waiting,) = done.waiting
    assert [lack.content.digest for lack in waiting.lacks] == [new]
    assert f"it is a delta against {old[7:19]}" in waiting.reason.replace("sha256:", "")
    assert "which the destination lacks" in waiting.reason
    assert not sides.blob(new).exists()
    sides.apply("whole")
    assert sides.holds(versions()[1])


@pytest.mark.parametrize("medium", ["parts", "pipe"])
def test_a_damaged_base_holds_up_only_its_image_and_one_answer_repairs_it(
    sides: Sides, medium: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = layers()
    other = image([layer({"other": b"1"})])
    write_layout(sides.source, {"app:0": versions()[0], "app:1": versions()[1], "app:2": other})
    part = sides.directory / "out" / the_part(sides.create())
    damage(sides.blob(old))
    if medium == "pipe":
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": Pipe(part.read_bytes())}))
    done = sides.apply("out" if medium == "parts" else "-", code=3)
    (waiting,) = done.waiting
    assert [lack.content.digest for lack in waiting.lacks] == [new]
    assert f"it is a delta against {old[7:19]}, which is damaged at oci:{sides.far}:app" in waiting.reason
    assert not done.report.failures
    assert sides.holds(other)
    again = sides.create("again", have="", answer=done.answer, deltas=True)
    assert again.bundle is not None
    assert [str(one.digest) for one in again.bundle.objects if not one.manifest] == [new]
    assert again.bundle.deltas == ()  # whole, whatever was asked for: the base is what may be lacking
    sides.apply("again")
    assert sides.holds(versions()[1])


def test_one_answer_repairs_a_lost_bundle_that_brought_what_a_delta_is_against(sides: Sides) -> None:
    old, new = versions()
    shutil.rmtree(sides.far)
    write_layout(sides.source, {"app:0": old})
    sides.create("lost", have="")
    write_layout(sides.source, {"app:0": old, "app:1": new})
    the_delta(sides.create("second", have="sent"))
    done = sides.apply("second", code=3)
    sides.create("again", have="", answer=done.answer)
    assert sides.apply("again").answer == ""
    assert sides.holds(old)
    assert sides.holds(new)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def as_source(sides: Sides, form: str) -> Report:
    """Import the bundle as a plain source: by a spec, as a copy, or by a plan that was saved before."""
    environment = sides.environment
    source = f"bundle:{sides.directory / 'out'}:app"
    if form == "copy":
        run = asyncio.run(copy_image(f"{source}:1", f"oci:{sides.far}:app:1", environment=environment))
        assert run.report is not None
        return run.report
    mirrors = [{"from": source, "tags": {"all": True}, "to": ["far"]}]
    inside = {"version": 1, "destinations": {"far": f"oci:{sides.far}"}, "mirrors": mirrors}
    (sides.directory / "inside.yaml").write_text(json.dumps(inside))
    spec = load_spec(sides.directory / "inside.yaml")
    if form == "spec":
        return asyncio.run(apply_spec(spec, environment=environment))
    plan = asyncio.run(make_plan(spec, environment=environment))
    return asyncio.run(apply_plan(plan, spec, environment=environment))


@pytest.mark.parametrize("form", ["spec", "copy", "saved plan"])
def test_a_bundle_as_a_plain_source_rebuilds_layers_from_what_the_destination_has(sides: Sides, form: str) -> None:
    write_layout(sides.source, {"app:1": versions()[1], "app:2": image([layer({"other": b"1"})])})
    the_delta(sides.create())
    assert as_source(sides, form).exit_code == 0
    assert sides.holds(versions()[1])


@pytest.mark.parametrize(
    ("form", "harm", "told"),
    [("spec", damage, "is damaged at oci:"), ("copy", Path.unlink, "the destination lacks")],
    ids=["damaged", "missing"],
)
def test_a_plain_source_whose_layer_cannot_be_rebuilt_is_refused_before_anything_is_copied(
    sides: Sides, form: str, harm: Callable[[Path], None], told: str
) -> None:
    old, new = layers()
    other = image([layer({"other": b"1"})])
    write_layout(sides.source, {"app:1": versions()[1], "app:2": other})
    sides.create()
    harm(sides.blob(old))
    report = as_source(sides, form)
    assert report.exit_code == (3 if form == "spec" else 1)
    (failure,) = report.failures
    assert f"it is a delta against {old[7:19]}, which {told}" in failure.error.message
    assert "answer code" in failure.error.remedy
    assert not any(sides.blob(digest).exists() for digest in (new, versions()[1].digest))
    assert sides.holds(other) or form == "copy"


def test_a_plain_source_that_lacks_what_the_destination_has_lost_is_refused_before_anything_is_copied(
    sides: Sides,
) -> None:
    sides.create(deltas=False)
    base = next(digest for digest in versions()[1].blobs if digest in versions()[0].blobs)
    sides.blob(base).unlink()
    (failure,) = as_source(sides, "spec").failures
    assert "the bundle does not have it: it was at the destination when the bundle was made" in failure.error.message
    assert base in str(failure.error.place)
    assert not sides.blob(layers()[1]).exists()


def the_part(made: Bundled) -> str:
    assert made.bundle is not None
    (part,) = made.bundle.parts
    return part.name


def test_a_damaged_delta_is_found_before_anything_is_pushed(sides: Sides) -> None:
    done = sides.create()
    one, form = the_delta(done)
    part = sides.directory / "out/shop-000001.001of001.tar"
    data = bytearray(part.read_bytes())
    start = data.index(delta_name(one.digest).encode() + b"\0") + 512
    data[start + form.size // 2] ^= 1
    part.write_bytes(data)
    (finding,) = asyncio.run(verify_bundle(sides.directory / "out")).findings
    assert (finding.member, finding.images) == (delta_name(one.digest), ("app:1",))
    waiting = sides.apply(code=4).waiting
    assert "is damaged" in waiting[0].reason


def test_without_the_compiled_part_blobs_go_whole_and_deltas_wait(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides.create()
    monkeypatch.setattr(compiled, "_REASON", "mirrorsync was installed without its compiled part (for a test)")
    done = sides.create("whole")
    assert done.bundle is not None
    assert done.bundle.deltas == ()
    assert "blobs go whole, without deltas: mirrorsync was installed without its compiled part" in sides.notices
    with pytest.raises(DeltasUnavailable):
        sides.create("never", deltas=True)
    (waiting,) = sides.apply(code=3).waiting
    assert "installed without its compiled part" in waiting.reason
    sides.apply("whole")
    assert sides.holds(versions()[1])


def test_a_delta_of_another_format_waits_and_is_not_called_damaged(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deltas, "KIND", "mirrorsync-2")
    sides.create()
    (waiting,) = sides.apply(code=3).waiting
    assert "this mirrorsync does not read deltas of the kind mirrorsync-2" in waiting.reason


def test_the_bytes_that_are_left_to_read_are_read(sides: Sides) -> None:
    cases: tuple[dict[str, Any], ...] = ({}, {"deltas": False})
    for fields in cases:
        del sides.events[:]
        sides.create(f"out{len(fields)}", **fields)
        first = next(at for at, one in enumerate(sides.events) if isinstance(one, TransferPlanned))
        moved = sum(one.size for one in sides.events[first:] if isinstance(one, BytesMoved))
        planned = sides.events[first]
        assert isinstance(planned, TransferPlanned)
        assert planned.size == moved


def test_deltas_are_made_only_with_have_and_unless_they_are_off(sides: Sides) -> None:
    for fields in ({"deltas": False}, {"have": ""}):
        done = sides.create(f"out{len(fields)}{next(iter(fields))}", **fields)
        assert done.bundle is not None
        assert done.bundle.deltas == ()
    assert "without deltas" not in sides.notices
    sides.create("asked", have="", deltas=True)
    assert "without --have nothing is known of the layers" in sides.notices


def test_a_base_that_its_source_has_not_any_more_makes_the_blob_whole(sides: Sides) -> None:
    old, _ = layers()
    (sides.source / "blobs/sha256" / old[7:]).unlink()
    done = sides.create()
    assert done.bundle is not None
    assert done.bundle.deltas == ()
    assert "without a delta" in sides.notices
    sides.apply()
    assert sides.holds(versions()[1])


def test_a_part_whose_delta_cannot_be_made_again_is_refused(sides: Sides) -> None:
    sides.create()
    (sides.source / "blobs/sha256" / layers()[0][7:]).unlink()
    again = write_parts_again(
        sides.spec, str(sides.directory / "out"), [1], str(sides.directory / "again"), environment=sides.environment
    )
    with pytest.raises(ContentNotFound, match="cannot be made again"):
        asyncio.run(again)
    assert not (sides.directory / "again").exists()


def test_a_delta_that_is_larger_than_a_part_gives_way_to_its_blob_in_pieces(sides: Sides) -> None:
    bundle = sides.create().bundle
    assert bundle is not None
    (one,) = bundle.deltas
    assert isinstance(one.form, Delta)
    for size, kind in ((20_000, Delta), (60_000, Pieces)):
        form = replace(one.form, size=size)
        objects = tuple(replace(other, form=form) if other is one else other for other in bundle.objects)
        packed = pack(replace(bundle, objects=objects), part_size=50_000)
        assert isinstance(packed.by_digest[one.digest].form, kind)
        assert all(part.body <= 50_000 for part in packed.parts)
