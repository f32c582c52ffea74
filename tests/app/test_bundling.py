"""Bundles are made from a spec and from what the far side has; every byte of them is checked without our code."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.app.bundle.creating import Bundled, Wanted, create_bundle, plan_bundle
from mirrorsync.app.bundle.inventories import make_inventory, save_inventory
from mirrorsync.app.bundle.parts import write_parts_again
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.output.made_bundles import bundle_summary
from mirrorsync.environment import Environment
from mirrorsync.errors import ContentNotFound, IntegrityError, Malformed, StorageError, UsageError
from mirrorsync.events import BytesMoved, Noticed
from tests.parts.images import Image, image, index, layer, multi_platform, write_layout

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


def noise(name: str, size: int) -> bytes:
    """Return bytes that cannot be compressed, the same for the same name."""
    return hashlib.shake_256(name.encode()).digest(size)


def made(name: str, size: int = 1000) -> Image:
    return image([layer({name: noise(name, size)}), layer({"shared": b"by all"})])


@dataclass
class Side:
    """The connected side: a layout as the source, a spec, a state directory."""

    directory: Path
    images: dict[str, Image] = field(default_factory=dict)
    mirror: dict[str, Any] = field(default_factory=dict)
    destination: str = "corp.invalid/m"
    cached: bool = False

    @property
    def environment(self) -> Environment:
        cache = self.directory / "cache" if self.cached else None
        return Environment(variables=EPOCH, state_directory=self.directory / "state", cache_directory=cache)

    def seed(self, images: Mapping[str, Image]) -> None:
        self.images |= images
        shutil.rmtree(self.directory / "source", ignore_errors=True)
        write_layout(self.directory / "source", self.images)

    def wanted(self, *have: str | Path, **fields: Any) -> Wanted:
        names = sorted({name.partition("@")[0].partition(":")[0] for name in self.images})
        mirrors = [{"from": f"oci:source:{name}", "tags": {"all": True}, **self.mirror} for name in names]
        spec = {"version": 1, "destinations": {"corp": self.destination}, "defaults": {"to": ["corp"]}}
        (self.directory / "shop.yaml").write_text(json.dumps({**spec, "mirrors": mirrors}))
        return Wanted(load_spec(self.directory / "shop.yaml"), tuple(map(str, have)), **fields)

    def create(self, output: str, *have: str | Path, **fields: Any) -> Bundled:
        return asyncio.run(
            create_bundle(self.wanted(*have, **fields), str(self.directory / output), environment=self.environment)
        )

    def files(self, output: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.directory / output).iterdir()}


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path)


def content(directory: Path) -> dict[str, bytes]:
    """Read all parts with nothing but tar: the content of every blob, with pieces joined, checked by its name."""
    found: dict[str, bytes] = {}
    pieces: dict[str, dict[int, bytes]] = {}
    for path in sorted(directory.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                assert file is not None
                folder, _, name = member.name.rpartition("/")
                if folder == "blobs/sha256":
                    found[f"sha256:{name}"] = file.read()
                elif folder == "pieces/sha256":
                    encoded, _, number = name.partition(".")
                    pieces.setdefault(f"sha256:{encoded}", {})[int(number)] = file.read()
    for digest, numbered in pieces.items():
        found[digest] = b"".join(numbered[number] for number in range(1, len(numbered) + 1))
    for digest, data in found.items():
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == digest
    return found


def all_content(*images: Image) -> dict[str, bytes]:
    """Return the manifests and blobs of images, by digest."""
    return {
        digest: data
        for whole in images
        for one in whole.manifests()
        for digest, data in {one.digest: one.raw, **one.blobs}.items()
    }


def test_a_full_bundle_has_every_byte_and_skopeo_reads_its_images(side: Side) -> None:
    both = multi_platform("app")
    side.seed({"team/app:1": both, "team/app:2": made("2"), "db:1": made("db")})
    done = side.create("out")
    assert done.bundle is not None
    assert done.files == ("shop-000001.001of001.tar", "shop-000001.json")
    assert content(side.directory / "out") == all_content(both, made("2"), made("db"))
    subprocess.run(["sha256sum", "-c", "--quiet", "shop-000001.sha256"], cwd=side.directory / "out", check=True)
    part = side.directory / "out/shop-000001.001of001.tar"
    target = side.directory / "copied"
    subprocess.run(["skopeo", "copy", "--quiet", f"oci-archive:{part}:team/app:2", f"dir:{target}"], check=True)
    assert (target / "manifest.json").read_bytes() == made("2").raw
    assert side.files("out")["shop-000001.json"] in part.read_bytes()
    document = json.loads(side.files("out")["shop-000001.json"])
    assert [(one["repository"], one["tag"]) for one in document["images"]] == [
        ("db", "1"), ("team/app", "1"), ("team/app", "2"),
    ]  # fmt: skip


def test_every_file_is_on_disk_before_it_has_its_name(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    really, synced = os.fsync, set[str]()

    def fsync(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        really(descriptor)

    side.seed({"app:1": made("1")})
    monkeypatch.setattr(os, "fsync", fsync)
    side.create("out", parity=Fraction(1, 10))
    assert {f"{name}.partial" for name in side.files("out")} <= synced


def test_a_disk_that_is_full_after_the_last_part_publishes_none(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name.endswith(".sha256.partial"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        really(descriptor)

    side.seed({"app:1": made("1")})
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match="the disk is full") as caught:
        side.create("out")
    assert caught.value.remedy.endswith("nothing was published")
    assert not (side.directory / "out").exists()


def test_twenty_parts_hold_the_same_bytes_and_one_of_them_can_be_written_again(side: Side) -> None:
    images = {f"app:{number}": made(f"{number}", 60_000) for number in range(12)}
    images["app:large"] = made("large", 1_500_000)
    side.seed(images)
    done = side.create("out", part_size=180_000)
    assert done.bundle is not None
    assert len(done.bundle.parts) >= 12
    assert any(one.name.startswith("pieces/") for part in done.bundle.parts for one in part.members)
    assert content(side.directory / "out") == all_content(*images.values())
    assert all(path.stat().st_size <= 180_000 for path in (side.directory / "out").glob("*.tar"))
    document = side.directory / "out/shop-000001.json"
    again = write_parts_again(
        side.wanted().spec, str(document), [2, 9], str(side.directory / "again"), environment=side.environment
    )
    asyncio.run(again)
    before, after = side.files("out"), side.files("again")
    assert len([name for name in after if name.endswith(".tar")]) == 2
    assert all(before[name] == data for name, data in after.items())


def test_only_what_the_inventory_of_the_far_side_lacks_is_carried(side: Side) -> None:
    side.seed({"app:1": made("1"), "app:2": made("2")})
    far = side.directory / "far.json"
    save_inventory(asyncio.run(make_inventory(f"oci:{side.directory}/source"))[0], str(far))
    moved, new = made("moved"), made("new")
    side.seed({"app:2": moved, "other:1": new})
    done = side.create("out", far)
    assert done.bundle is not None
    shared = set(made("1").blobs) & set(new.blobs)
    lacking = {**all_content(moved), **all_content(new)}
    assert content(side.directory / "out") == {key: data for key, data in lacking.items() if key not in shared}
    assert {(one.digest, one.repositories) for one in done.bundle.assumes} == {
        *((digest, ("app",)) for digest in shared),
        (made("1").digest, ("app",)),
    }
    assert done.bundle.destination == f"oci:{side.directory}/source"
    assert [one.kind for one in done.bundle.have] == ["inventory"]


def test_a_tag_that_moves_back_carries_nothing_but_its_name(side: Side) -> None:
    side.seed({"app:1": made("1"), "app:2": made("2")})
    side.create("first")
    side.seed({"app:2": made("1")})
    done = side.create("second", "sent")
    assert done.bundle is not None
    assert content(side.directory / "second") == {}
    assert [(one.tag, one.content.digest) for one in done.bundle.images] == [
        ("1", made("1").digest), ("2", made("1").digest),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "have",
    [lambda out: "sent", lambda out: out, lambda out: out / "shop-000001.json", lambda out: next(out.glob("*.tar"))],
    ids=["sent", "directory", "document", "part"],
)
def test_bundles_follow_each_other(side: Side, have: Callable[[Path], str | Path]) -> None:
    side.seed({"app:1": made("1")})
    first = side.create("out")
    known = have(side.directory / "out")
    assert side.create("none", known).bundle is None
    assert not (side.directory / "none").exists()
    side.seed({"app:2": made("2")})
    second = side.create("next", known)
    assert first.bundle is not None
    assert second.bundle is not None
    assert second.bundle.sequence == 2
    assert second.bundle.chain == first.bundle.chain
    assert second.bundle.previous is not None
    document = side.files("out")["shop-000001.json"]
    assert second.bundle.previous.digest == f"sha256:{hashlib.sha256(document).hexdigest()}"
    assert {one.sent for one in second.bundle.assumes} == {1}
    assert made("1").digest not in content(side.directory / "next")


def test_the_same_images_and_the_same_time_make_the_same_bytes(side: Side) -> None:
    side.seed({"app:1": multi_platform("app"), "app:2": made("2", 200_000), "app:3": made("3")})
    side.create("first")
    shutil.copytree(side.directory / "state", side.directory / "saved")
    side.create("a", part_size=100_000)
    shutil.rmtree(side.directory / "state")
    shutil.move(side.directory / "saved", side.directory / "state")
    side.create("b", part_size=100_000)
    assert side.files("a") == side.files("b")


def test_the_plan_of_a_bundle_is_what_is_written(side: Side) -> None:
    side.seed({"app:1": made("1", 100_000), "app:2": made("2", 100_000)})
    planned = asyncio.run(plan_bundle(side.wanted(part_size=150_000), environment=side.environment))
    assert not (side.directory / "state").exists()
    done = side.create("out", part_size=150_000)
    assert planned.bundle is not None
    assert done.bundle is not None
    assert [part.body for part in planned.bundle.parts] == [part.body for part in done.bundle.parts]


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_carried(side: Side) -> None:
    broken = made("broken")
    side.seed({"app:1": made("1"), "app:2": index([broken])})
    (side.directory / "source/blobs/sha256" / broken.digest.partition(":")[2]).unlink()
    done = side.create("out")
    assert [one.ref for one in done.plan.failures] == ["2"]
    assert content(side.directory / "out") == all_content(made("1"))


def blob_of(side: Side, one: Image) -> Path:
    """Return the file of the largest blob of an image at the source."""
    largest = max(one.blobs, key=lambda digest: len(one.blobs[digest]))
    return side.directory / "source/blobs/sha256" / largest.partition(":")[2]


@pytest.mark.parametrize("part_size", [None, 1_000_000], ids=["whole", "pieces"])
def test_images_with_lost_or_damaged_content_are_named_and_the_others_are_carried(
    side: Side, part_size: int | None
) -> None:
    images = {f"app:{name}": made(name, 3_000_000) for name in ("damaged", "short", "lost", "good")}
    images["db:lost"] = made("lost too")
    side.seed(images)
    damaged, short = blob_of(side, images["app:damaged"]), blob_of(side, images["app:short"])
    damaged.write_bytes(b"x" + damaged.read_bytes()[1:])
    short.write_bytes(short.read_bytes()[:-1])
    for lost in ("app:lost", "db:lost"):
        blob_of(side, images[lost]).unlink()
    done = side.create("out", part_size=part_size)
    failed = {one.subject.rpartition("/m/")[2]: isinstance(one.error, IntegrityError) for one in done.plan.failures}
    assert failed == {"app:damaged": True, "app:short": True, "app:lost": False, "db:lost": False}
    assert content(side.directory / "out") == all_content(images["app:good"])
    assert done.bundle is not None
    assert [image.name for image in done.bundle.images] == ["app:good"]
    assert not list((side.directory / "out").glob("*.partial"))


def test_nothing_is_carried_if_all_content_is_lost(side: Side) -> None:
    side.seed({"app:1": made("1"), "app:2": made("2")})
    for one in (made("1"), made("2")):
        blob_of(side, one).unlink()
    done = side.create("out")
    assert (done.bundle, len(done.plan.failures)) == (None, 2)
    assert not (side.directory / "out").exists()


def test_leftovers_of_a_killed_run_are_removed_and_files_of_others_stay(side: Side) -> None:
    side.seed({"app:1": made("1")})
    (side.directory / "out").mkdir()
    for name in ("shop-000007.001of002.tar.partial", "other-000007.001of002.tar.partial", "shop-000000.001of001.tar"):
        (side.directory / "out" / name).write_bytes(b"left")
    side.create("out")
    assert set(side.files("out")) == {
        "other-000007.001of002.tar.partial", "shop-000000.001of001.tar",
        "shop-000001.001of001.tar", "shop-000001.json", "shop-000001.sha256",
    }  # fmt: skip


def test_policies_decide_what_a_bundle_carries(side: Side) -> None:
    side.seed({"app:1": made("1")})
    side.create("first")
    side.mirror = {"immutable": ["*"]}
    side.seed({"app:1": made("moved"), "app:2": made("2")})
    done = side.create("second", "sent")
    assert done.bundle is not None
    assert made("moved").digest not in content(side.directory / "second")
    assert {one.tag: one.content.digest for one in done.bundle.images} == {
        "1": made("1").digest,
        "2": made("2").digest,
    }


def test_where_nothing_can_be_written_is_refused_before_a_source_is_read_and_without_a_number(side: Side) -> None:
    side.seed({"app:1": made("1")})
    (side.directory / "file").write_bytes(b"a file")
    for output in ("file", "file/out"):
        with pytest.raises(StorageError, match=r"/file cannot be written$"):
            side.create(output)
    assert not (side.directory / "state").exists()
    done = side.create("out").bundle
    assert done is not None
    assert done.sequence == 1


def test_a_sender_that_lost_its_memory_does_not_replace_bundles_or_write_older_ones_beside_them(side: Side) -> None:
    side.seed({"app:1": made("1")})
    side.create("out")
    side.seed({"app:2": made("2")})
    side.create("out", "sent")
    before = side.files("out")
    shutil.rmtree(side.directory / "state")
    with pytest.raises(UsageError, match="has bundle 2 of shop already, and this one would be 1") as refused:
        side.create("out")
    assert "write to another directory" in refused.value.remedy
    assert side.files("out") == before
    assert side.create("out", name="again").bundle is not None
    assert side.create("elsewhere").bundle is not None


def test_a_memory_that_is_damaged_is_named_with_what_to_do(side: Side) -> None:
    side.seed({"app:1": made("1")})
    side.create("out")
    memory = next((side.directory / "state/bundles").iterdir())
    for file, text, remedy in (
        ("000001.json", b"{", "restore it, or remove it"),
        ("sender.json", b"[]", "restore it, or remove the directory to begin anew"),
        ("sender.json", b"{", "restore it, or remove the directory to begin anew"),
        ("sender.json", None, "set STATE_DIRECTORY to a directory that can be read and written"),
    ):
        (memory / file).unlink()
        (memory / file).mkdir() if text is None else (memory / file).write_bytes(text)
        with pytest.raises((Malformed, StorageError), match=str(memory / file)) as refused:
            side.create("next")
        assert refused.value.remedy.startswith(remedy)
    assert not (side.directory / "next").exists()


def test_a_memory_that_cannot_be_written_is_refused_before_a_source_is_asked(side: Side) -> None:
    side.seed({"app:1": made("1")})
    (side.directory / "state").write_bytes(b"a file")
    shutil.rmtree(side.directory / "source")
    with pytest.raises(StorageError, match="/state") as refused:
        side.create("out")
    assert refused.value.remedy.startswith("set STATE_DIRECTORY")


def test_parts_that_cannot_be_written_again_are_an_error_with_what_to_do(side: Side) -> None:
    def again() -> Bundled:
        spec, of, to = side.wanted().spec, str(side.directory / "out"), str(side.directory / "again")
        return asyncio.run(write_parts_again(spec, of, [1], to, environment=side.environment))

    side.seed({"app:1": made("1")})
    side.create("out")
    side.seed({"app:1": made("moved on")})
    with pytest.raises(ContentNotFound, match="oci:") as refused:
        again()
    assert refused.value.remedy == "make a new bundle of what the far side lacks"
    next((side.directory / "out").glob("*.tar")).unlink()
    (side.directory / "out/shop-000001.json.sig").mkdir()
    with pytest.raises(StorageError, match=r"shop-000001\.json\.sig"):
        again()


def test_a_directory_that_have_names_means_the_newest_bundle_of_one_name(side: Side) -> None:
    side.seed({"app:1": made("1")})
    side.create("out")
    assert side.create("next", side.directory / "out").bundle is None
    side.create("out", name="yard")
    with pytest.raises(UsageError, match="has bundles of shop, yard"):
        side.create("next", side.directory / "out")


def test_a_bundle_that_failed_does_not_say_that_the_far_side_has_all(side: Side) -> None:
    side.seed({"app:1": made("1")})
    side.create("out")
    side.images["gone:1"] = made("2")  # the spec wants it, and the source does not have it
    side.mirror = {"tags": ["1"]}
    done = side.create("next", side.directory / "out")
    assert bundle_summary(done, "next") == "nothing to carry: the far side has all other images, 1 failed"
    done = replace(done, plan=replace(done.plan, changes=()))
    assert bundle_summary(done, "next") == "nothing to carry, 1 failed"


@pytest.mark.parametrize(
    ("text", "error"),
    [(b"{", Malformed), (b"", Malformed), (b'{"kind":"mirrorsync.lock"}', Malformed), (b"\x1f\x8bx", Malformed)],
    ids=["half", "empty", "another kind", "damaged gzip"],
)
def test_what_the_far_side_has_must_be_readable(side: Side, text: bytes, error: type[Exception]) -> None:
    side.seed({"app:1": made("1")})
    (side.directory / "far.json").write_bytes(text)
    with pytest.raises(error):
        side.create("out", side.directory / "far.json")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"name": "../x"}, "not the name of a bundle"),
        ({"destination": "other"}, "no destination 'other'"),
        ({"part_size": 100}, "too small"),
    ],
)
def test_wrong_wishes_are_refused(side: Side, fields: dict[str, Any], word: str) -> None:
    side.seed({"app:1": made("1")})
    with pytest.raises(UsageError, match=word):
        side.create("out", **fields)


def test_an_image_that_one_tag_leaves_is_carried_for_another_repository(side: Side) -> None:
    old, new = made("old"), made("new")
    side.seed({"app:1": old})
    side.create("first")
    side.seed({"app:1": new, "db:1": old})  # the far side has `old`, which only the source can tell more about
    done = side.create("second", side.directory / "first")
    assert not done.plan.failures
    assert done.bundle is not None
    assert {one.digest for one in done.bundle.objects} >= {new.digest}
    assert [one.name for one in done.bundle.images] == ["app:1", "db:1"]


def test_what_the_memory_knows_is_read_and_kept_by_every_bundle(side: Side) -> None:
    noticed: list[object] = []
    for number in ("1", "2", "3"):
        side.seed({f"app:{number}": made(number)})
        environment = replace(side.environment, observer=noticed.append)
        done = asyncio.run(create_bundle(side.wanted(), str(side.directory / number), environment=environment))
        assert done.bundle is not None
    assert [one for one in noticed if isinstance(one, Noticed)] == []
    with tarfile.open(next((side.directory / "3").glob("*.tar"))) as part:
        seen = part.extractfile("site/first-seen.json")
        assert seen is not None
        digests = {one["digest"] for one in json.load(seen)["seen"]}
    assert {made("1").digest, made("2").digest} <= digests


def test_a_bundle_for_which_there_is_no_room_is_refused_before_a_byte_is_read_or_written(side: Side) -> None:
    free = shutil.disk_usage(side.directory).free
    huge = image([layer({"a": b"1"})])
    raw = json.loads(huge.raw)
    raw["layers"][0]["size"] = free + (1 << 40)  # its blob is not even there
    side.seed({"app:1": replace(huge, raw=json.dumps(raw).encode())})
    events: list[Any] = []
    environment = replace(side.environment, observer=events.append)
    (side.directory / "out").mkdir()
    with pytest.raises(StorageError, match=r"/out has \d+ bytes free; the bundle needs \d+") as refused:
        asyncio.run(create_bundle(side.wanted(), str(side.directory / "out"), environment=environment))
    assert refused.value.remedy == "free some space, or write to another directory"
    assert not [one for one in events if isinstance(one, BytesMoved)]
    assert list((side.directory / "out").iterdir()) == []
