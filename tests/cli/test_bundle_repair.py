"""`bundle create --parity` and `bundle repair`: lost and damaged files come back byte for byte, or are named."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from mirrorsync.app.bundle.parity import repair_bundle
from mirrorsync.errors import StorageError
from tests.app.test_bundling import Side, made
from tests.parts.documents import valid
from tests.parts.images import write_layout
from tests.parts.mirrorsync import Mirrorsync

PART = "shop-000001.{}of003.tar"
DOCUMENT = "shop-000001.json"


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    side = Side(tmp_path_factory.mktemp("side"))
    side.seed({f"app:{tag}": made(f"{tag}", 100_000) for tag in range(3)})
    side.create("usb", part_size=120 * 1024, parity=Fraction(34, 100))
    (side.directory / "state").rename(side.directory / "forgotten")
    side.create("again", part_size=120 * 1024)
    return side.directory


@pytest.fixture
def usb(mirrorsync: Mirrorsync, made_once: Path) -> Path:
    """A directory with a bundle of three parts, and 34 % of parity."""
    return Path(shutil.copytree(made_once / "usb", mirrorsync.directory / "usb"))


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def flip(path: Path, *places: int) -> None:
    """Change bytes of a file."""
    data = bytearray(path.read_bytes())
    for place in places:
        data[place] ^= 1
    path.write_bytes(data)


def harm(usb: Path) -> None:
    """Damage one part, and the document."""
    flip(usb / PART.format("003"), 600, 90_000)
    flip(usb / DOCUMENT, 5)


def test_a_lost_part_and_damaged_bytes_come_back_byte_for_byte(mirrorsync: Mirrorsync, usb: Path) -> None:
    good = content(usb)
    assert "is whole: nothing to repair" in mirrorsync("bundle", "repair", "usb", code=0).out
    (usb / PART.format("002")).unlink()
    found = mirrorsync("bundle", "verify", "usb", code=3)
    assert "mirrorsync bundle repair usb\n" in found.err
    waits = mirrorsync("bundle", "apply", "usb", "--to", "oci:far", code=3)
    assert "mirrorsync bundle repair usb\n" in waits.err
    assert f"repaired {PART.format('002')}" in mirrorsync("bundle", "repair", "usb", code=0).out
    assert content(usb) == good
    harm(usb)
    assert "bundle repair" in mirrorsync("bundle", "verify", "usb", code=4).err
    document = valid(mirrorsync("bundle", "repair", "usb", "--json", code=0).json(), "bundle-repair")
    assert [(one["file"], one["was"]) for one in document["repaired"]] == [
        (PART.format("003"), "damaged"), (DOCUMENT, "damaged"),
    ]  # fmt: skip
    assert content(usb) == good
    quiet = mirrorsync("bundle", "verify", "--quiet", "usb", code=0)
    assert quiet.err == ""


def test_a_medium_that_cannot_be_written_is_repaired_elsewhere(mirrorsync: Mirrorsync, usb: Path) -> None:
    good = content(usb)
    harm(usb)
    damaged = content(usb)
    mirrorsync("bundle", "repair", str(usb / PART.format("001")), "--output", "new", code=0)
    assert content(usb) == damaged
    assert content(mirrorsync.directory / "new") == {name: good[name] for name in (PART.format("003"), DOCUMENT)}


def test_without_room_the_remedy_is_another_directory(usb: Path) -> None:
    harm(usb)
    before, limits = content(usb), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="the file would exceed the size limit") as caught:
            asyncio.run(repair_bundle(usb))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.remedy == "write the repaired files to another directory: --output DIR"
    assert content(usb) == before


def test_what_cannot_be_repaired_is_named_and_stays_as_it_is(mirrorsync: Mirrorsync, usb: Path) -> None:
    for number in ("002", "003"):
        (usb / PART.format(number)).unlink()
    before = content(usb)
    done = mirrorsync("bundle", "repair", "usb", code=3)
    assert f"cannot be repaired: {PART.format('003')} is missing" in done.err
    assert "bundle create --only-parts" in done.err
    assert "nothing was repaired; 2 files cannot be repaired" in done.out
    assert content(usb) == before
    flip(usb / PART.format("001"), 30_000)
    assert json.loads(mirrorsync("bundle", "repair", "usb", "--json", code=4).out)["lost"][0]["was"] == "damaged"
    for path in usb.glob("*.par*"):
        path.unlink()
    assert "no parity files of shop-000001" in mirrorsync("bundle", "repair", "usb", code=1).err
    assert "bundle repair" not in mirrorsync("bundle", "verify", "usb", code=4).err


def test_a_file_that_is_none_to_open_is_not_called_damaged(mirrorsync: Mirrorsync, usb: Path) -> None:
    wrong = mirrorsync("bundle", "verify", f"{usb}/shop-000001.sha256", code=1).err
    assert "is not a part of a bundle\n  name a bundle's directory, its .json file, or one of its parts" in wrong


def test_a_document_that_is_damaged_everywhere_is_a_case_for_repair(mirrorsync: Mirrorsync, usb: Path) -> None:
    good = content(usb)
    flip(usb / DOCUMENT, 5)
    for number in ("001", "002", "003"):
        flip(usb / PART.format(number), 2_000)
    assert "bundle repair usb" in mirrorsync("bundle", "verify", "usb", code=1).err
    mirrorsync("bundle", "repair", "usb", code=0)
    assert content(usb) == good


def test_parity_of_another_bundle_repairs_nothing(mirrorsync: Mirrorsync, usb: Path, made_once: Path) -> None:
    other = Path(shutil.copytree(made_once / "again", mirrorsync.directory / "other"))
    for path in usb.glob("*.par*"):
        shutil.copy(path, other)
    before = content(other)
    assert before[DOCUMENT] != content(usb)[DOCUMENT]
    assert "are of another bundle" in mirrorsync("bundle", "repair", "other", code=1).err
    assert content(other) == before


def test_create_writes_parity_and_lists_it_with_the_checksums(mirrorsync: Mirrorsync) -> None:
    write_layout(mirrorsync.directory / "source", {"app:1": made("1", 100_000)})
    mirror = {"from": "oci:source:app", "tags": {"all": True}, "to": ["corp"]}
    mirrorsync.spec({"destinations": {"corp": "corp.invalid/m"}, "mirrors": [mirror]}, "shop.yaml")
    done = mirrorsync("bundle", "create", "shop.yaml", "--parity", "10%", "-o", "usb", "--json", code=0)
    directory = mirrorsync.directory / "usb"
    written = set(content(directory))
    assert {*done.json()["files"], "shop-000001.sha256"} == written
    parity = {"shop-000001.parity.json", "shop-000001.parity-01.par"}
    assert parity <= written
    sums = subprocess.run(["sha256sum", "-c", "shop-000001.sha256"], cwd=directory, check=True, capture_output=True)
    assert {line.partition(":")[0] for line in sums.stdout.decode().splitlines()} == written - {"shop-000001.sha256"}


def test_parity_is_for_whole_bundles_in_a_directory(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec({"destinations": {"a": "a.invalid/m"}, "mirrors": ["quay.io/x/y:1"]})
    for words, told in (
        (("create", "-o", "-", "--parity", "10%"), "a stream has no parity files"),
        (("create", "-o", "x", "--parity", "10"), "is not a share of parity"),
        (("create", "-o", "x", "--parity", "10%", "--only-parts", "1", "--of", "x"), "--parity is for whole bundles"),
        (("repair", "-"), "a part from a pipe cannot be repaired"),
    ):  # fmt: skip
        assert told in mirrorsync("bundle", *words, code=2).err, words
    assert "no bundle" in mirrorsync("bundle", "repair", ".", code=1).err
    gone = mirrorsync("bundle", "repair", "/no/where/shop-000001.json", code=1)
    assert gone.err == "mirrorsync: reading /no/where: No such file or directory\n"
