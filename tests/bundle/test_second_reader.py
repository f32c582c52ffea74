"""The second reader, which knows docs/bundle-format.md and no code of the product, reads what the product describes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts.bundles import Packed, pack
from tests.parts.images import artifact, image, index, layer, noise

READER = Path(__file__).with_name("second_reader.py")
PLAIN = index([image([layer({"a": b"1"}), layer({"b": noise("b", 3000)})]), image([layer({"a": b"2"})])])
LARGE = image([layer({"large": noise("large", 9_000)})])
IMAGES = {"shop/app:1": PLAIN, "shop/app:2": LARGE, "shop/app": artifact(PLAIN, b"an sbom")}
ONE, MANY = pack(IMAGES), pack(IMAGES, part_size=4000)


def read(*words: str | Path, code: int = 0) -> str:
    done = subprocess.run([sys.executable, "-I", READER, *words], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_it_is_short_and_imports_nothing_but_the_standard_library() -> None:
    text = READER.read_text()
    assert len([line for line in text.splitlines() if line.strip()]) < 150
    imported = {name.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for name in node.names}
    assert imported <= sys.stdlib_module_names
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]


@pytest.mark.parametrize("packed", [ONE, MANY], ids=["one part", "many parts"])
def test_it_verifies_a_bundle_and_extracts_a_layout_that_skopeo_reads(packed: Packed, tmp_path: Path) -> None:
    directory = packed.write(tmp_path / "usb")
    assert read("verify", directory) == "every byte is as the document says\n"
    assert read("list", directory).count("is whole") == len(IMAGES)
    read("extract", directory, tmp_path / "out")
    for name, made in (("shop/app:1", PLAIN), ("shop/app:2", LARGE)):
        words = ["skopeo", "inspect", "--raw", f"oci:{tmp_path}/out:{name}"]
        assert subprocess.run(words, capture_output=True, check=True).stdout == made.raw
    for made in IMAGES.values():
        for digest, data in made.all_blobs().items():
            assert (tmp_path / "out/blobs/sha256" / digest[7:]).read_bytes() == data


def test_it_names_what_is_damaged_or_missing_and_extracts_the_rest(tmp_path: Path) -> None:
    last = len(MANY.bundle.parts)
    directory = MANY.write(tmp_path / "usb", set(range(1, last)))
    first = directory / MANY.bundle.parts[0].name
    data = first.read_bytes()
    first.write_bytes(data[:-2000] + b"!" + data[-1999:])
    told = read("list", directory, code=1)
    assert f"{MANY.bundle.parts[-1].name}: " in told
    assert f"{first.name}: " in told
    assert "is missing or damaged" in told
    assert "contradicts" not in told


def test_skopeo_copies_an_image_out_of_a_single_part(tmp_path: Path) -> None:
    part = ONE.write(tmp_path / "usb") / ONE.bundle.parts[0].name
    words = ["skopeo", "copy", "--quiet", f"oci-archive:{part}:shop/app:2", f"oci:{tmp_path}/out:2"]
    subprocess.run(words, check=True, capture_output=True)
    assert (tmp_path / "out/blobs/sha256" / LARGE.digest[7:]).read_bytes() == LARGE.raw
