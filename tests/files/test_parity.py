"""Parity: whatever the losses, as long as enough is left, the same bytes come back; what does not is named."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from hashlib import sha256
from itertools import combinations
from operator import xor
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.errors import GrammarError, IntegrityError, Malformed, MirrorsyncError, NotFound
from mirrorsync.files.parity.code import BLOCK_BYTES, Code, inverse, multiply
from mirrorsync.files.parity.document import parse, read_percent, shape_of, to_bytes, trailer
from mirrorsync.files.parity.make import protect
from mirrorsync.files.parity.repair import Damage, examine, repair
from tests.parts.images import noise

SLICE = BLOCK_BYTES
TENTH = Fraction(1, 10)
DOCUMENT = "b-000001.parity.json"


class Bundle:
    """Files with parity in a directory; `content` has what they were."""

    def __init__(self, directory: Path, sizes: list[int], share: Fraction, small: tuple[int, ...] = ()) -> None:
        self.directory = directory
        parts = [f"b-000001.{number:03}of{len(sizes):03}.tar" for number in range(1, len(sizes) + 1)]
        others = [f"b-000001.json{'.sig' * number}" for number in range(len(small))]
        for name, size in zip([*parts, *others], [*sizes, *small], strict=True):
            (directory / name).write_bytes(noise(name, size))
        self.parts, self.parity = parts, protect(directory, "b-000001", parts, others, share=share, subject="it")
        self.content = {path.name: path.read_bytes() for path in directory.iterdir()}

    def damage(self, name: str, *slices: int) -> None:
        """Change one byte of each of these slices of a file."""
        data = bytearray((self.directory / name).read_bytes())
        for number in slices:
            data[min(number * SLICE + 5, len(data) - 1)] ^= 1
        (self.directory / name).write_bytes(data)

    def lose(self, *names: str) -> None:
        """Delete files."""
        for name in names:
            (self.directory / name).unlink()

    def healed(self) -> bool:
        """Repair, and return whether all files are as they were, and no others are there."""
        found = examine(self.directory, "b-000001")
        repair(self.directory, "b-000001", found, self.accept)
        return {path.name: path.read_bytes() for path in self.directory.iterdir()} == self.content

    def accept(self, name: str, path: Path) -> None:
        """Compare a repaired file with what it was."""
        if path.read_bytes() != self.content[name]:
            raise IntegrityError(f"{name} is not what it was")


@pytest.mark.parametrize(("data", "rows"), [(1, 1), (1, 3), (2, 2), (4, 3), (5, 2)])
def test_any_blocks_suffice_if_there_are_as_many_as_data_blocks(data: int, rows: int) -> None:
    code = Code(data, rows)
    blocks = [noise(f"block {number}", BLOCK_BYTES) for number in range(data)]
    parity = code.encode(blocks, range(rows))
    for count in range(rows + 1):
        for lost in combinations(range(data + rows), count):
            solved = code.decode(
                [None if number in lost else block for number, block in enumerate(blocks)],
                {row: block for row, block in enumerate(parity) if data + row not in lost},
            )
            assert solved == {number: blocks[number] for number in lost if number < data}


@pytest.mark.parametrize(("data", "rows"), [(30, 30), (246, 10)])
def test_the_largest_codes_solve_for_as_many_blocks_as_they_have_rows(data: int, rows: int) -> None:
    code = Code(data, rows)
    blocks = [bytes([number]) * BLOCK_BYTES for number in range(data)]
    parity = code.encode(blocks, range(rows))
    lost = set(random.Random(data).sample(range(data), rows))
    solved = code.decode([None if n in lost else block for n, block in enumerate(blocks)], dict(enumerate(parity)))
    assert solved == {number: blocks[number] for number in lost}


def test_parity_is_the_sum_that_the_format_describes() -> None:
    blocks = [noise(f"described {number}", BLOCK_BYTES) for number in range(3)]
    made = Code(3, 2).encode(blocks, [0, 1])
    packet = BLOCK_BYTES // 8

    def element(block: bytes, at: int, bit: int) -> int:
        return sum((block[number * packet + at] >> bit & 1) << number for number in range(8))

    for row, block in enumerate(made):
        for at, bit in ((0, 0), (7, 3), (packet - 1, 7)):
            products = [multiply(element(one, at, bit), inverse((3 + row) ^ n)) for n, one in enumerate(blocks)]
            assert element(block, at, bit) == reduce(xor, products)
    assert all(multiply(one, inverse(one)) == 1 for one in range(1, 256))
    assert multiply(0x80, 2) == 0x1D


SIZES = {
    "equal": [3 * SLICE] * 4,
    "not multiples of a slice": [3 * SLICE + 1, SLICE - 1, 2 * SLICE, 77],
    "one byte": [1],
    "one that is empty": [0, SLICE, 5],
    "nothing but empty": [0, 0],
    "many small": [9] * 6,
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("share", [Fraction(1, 3), Fraction(1)], ids=["a third", "as much again"])
def test_every_choice_of_the_share_of_parts_may_be_lost(sizes: list[int], share: Fraction, tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, sizes, share)
    count = int(len(sizes) * share)
    for lost in combinations(bundle.parts, count):
        bundle.lose(*lost)
        assert bundle.healed(), f"after the loss of {lost}"


def test_a_tenth_of_a_single_part_may_be_lost_in_one_stretch_and_costs_a_tenth(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, [200 * SLICE], TENTH, small=(500, 300))
    for start in (0, 37, 180):
        bundle.damage(bundle.parts[0], *range(start, start + 20))
        assert bundle.healed(), f"damage from slice {start} on"
    rows = sum(len(bundle.content[name]) for name in bundle.parity) - 3 * len(bundle.content[DOCUMENT])
    assert rows == pytest.approx(202 * SLICE / 10, rel=0.12)


def test_damage_at_random_places_is_healed_together_with_small_files(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, [70 * SLICE + 9, 90 * SLICE, 30 * SLICE], TENTH, small=(500, 300))
    chance = random.Random(4)
    for name, slices in zip(bundle.parts, (70, 90, 30), strict=True):
        bundle.damage(name, *chance.sample(range(slices), 3))
    bundle.damage("b-000001.json.sig", 0)
    bundle.lose("b-000001.json")
    assert bundle.healed()


LOSSES: dict[str, Callable[[Bundle], object]] = {
    "a parity file": lambda bundle: bundle.lose(bundle.parity[0]),
    "the document": lambda bundle: bundle.lose(DOCUMENT),
    "the document, damaged": lambda bundle: bundle.damage(DOCUMENT, 0),
    "all parity files": lambda bundle: bundle.lose(*bundle.parity[:-1]),
    "slices of a parity file": lambda bundle: bundle.damage(bundle.parity[1], 0, 2),
    "the end of a parity file": lambda bundle: bundle.damage(bundle.parity[0], 10**6),
    "a parity file that ends early": lambda bundle: (bundle.directory / bundle.parity[0]).write_bytes(b"short"),
    "a part that ends early": lambda bundle: (bundle.directory / bundle.parts[0]).write_bytes(
        bundle.content[bundle.parts[0]][:-1]
    ),
    "a part with more at its end": lambda bundle: (bundle.directory / bundle.parts[0]).write_bytes(
        bundle.content[bundle.parts[0]] + b"more"
    ),
    "two parts, in each other's place": lambda bundle: (bundle.directory / bundle.parts[0]).write_bytes(
        bundle.content[bundle.parts[1]]
    ),
    "a part and a parity file": lambda bundle: bundle.lose(bundle.parts[1], bundle.parity[2]),
    "nothing": lambda bundle: None,
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_losses_are_healed(loss: Callable[[Bundle], object], tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, [3 * SLICE, 2 * SLICE + 9, 2 * SLICE, 4 * SLICE], Fraction(1, 2))
    loss(bundle)
    assert bundle.healed()


def test_what_cannot_be_healed_is_named_and_the_rest_is_healed(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, [70 * SLICE, 70 * SLICE, 60 * SLICE], TENTH)
    # Slices of a stripe are as far apart as there are stripes: 11 of one stripe are too many, 1 of the other is not.
    bundle.damage(bundle.parts[0], *range(0, 22, 2))
    bundle.damage(bundle.parts[1], 1)
    found = examine(tmp_path, "b-000001")
    assert (found.hopeless, found.repairable) == ((bundle.parts[0],), (bundle.parts[1],))
    assert repair(tmp_path, "b-000001", found, bundle.accept) == [bundle.parts[1]]
    assert (tmp_path / bundle.parts[1]).read_bytes() == bundle.content[bundle.parts[1]]
    assert {path.name for path in tmp_path.iterdir()} == set(bundle.content)


def test_the_same_files_have_the_same_parity(tmp_path: Path) -> None:
    made = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        made.append(Bundle(tmp_path / name, [5 * SLICE, 17], Fraction(1, 2)).content)
    assert made[0] == made[1]


# The lock is held while a thread begins or ends, in Pythons that have it; the garbage collector may run then.
_ABANDONED = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from mirrorsync.files.parity.document import shape_of
from mirrorsync.files.parity.slices import Columns, Sums

path = Path(sys.argv[1])
shape = shape_of([path.stat().st_size], [], Fraction(1, 10))
sums = [Sums(shape.slice_bytes, shape.lengths(number)) for number in range(shape.columns)]
with ThreadPoolExecutor(1) as reader:
    windows = Columns(shape, [path]).windows(sums, reader)
    next(windows)
    with getattr(threading, "_shutdown_locks_lock", threading.Lock()):
        del windows
"""


def test_reading_ahead_that_is_given_up_waits_for_nothing(tmp_path: Path) -> None:
    """It had a thread of its own, which was joined: if the collector did so in a thread that begins, both hung."""
    with (tmp_path / "part").open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run([sys.executable, "-c", _ABANDONED, str(tmp_path / "part")], check=True, timeout=60)


def test_a_repaired_file_that_is_not_accepted_gets_no_name(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, [3 * SLICE, SLICE], Fraction(1, 2))
    bundle.lose(bundle.parts[1])

    def refuse(name: str, path: Path) -> None:
        raise IntegrityError(f"{name} is another one")

    with pytest.raises(IntegrityError):
        repair(tmp_path, "b-000001", examine(tmp_path, "b-000001"), refuse)
    assert {path.name for path in tmp_path.iterdir()} == set(bundle.content) - {bundle.parts[1]}


def test_repaired_files_can_be_written_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "usb").mkdir()
    (tmp_path / "disk").mkdir()
    bundle = Bundle(tmp_path / "usb", [3 * SLICE, SLICE], Fraction(1, 2))
    bundle.damage(bundle.parts[0], 1)
    found = examine(tmp_path / "usb", "b-000001")
    repair(tmp_path / "usb", "b-000001", found, bundle.accept, output=tmp_path / "disk")
    assert {path.name: path.read_bytes() for path in (tmp_path / "disk").iterdir()} == {
        bundle.parts[0]: bundle.content[bundle.parts[0]]
    }


def test_parity_of_files_that_are_missing_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        protect(tmp_path, "b-000001", ["b-000001.001of001.tar"], share=TENTH, subject="")
    assert not list(tmp_path.iterdir())
    with pytest.raises(NotFound):
        examine(tmp_path, "b-000001")


@pytest.mark.parametrize(
    ("parts", "share", "rows"),
    [
        ([1] * 10, TENTH, 1),
        ([1000] * 20, TENTH, 2),
        ([SLICE * 100] * 20, TENTH, 10),
        # A part takes 11 of the 92 columns, so a tenth of these is not enough for a tenth of the parts.
        ([SLICE * 91] * 9 + [SLICE], TENTH, 11),
        ([SLICE * 300] * 3, TENTH, 10),
        ([SLICE * 300] * 3, Fraction(34, 100), 34),
        ([SLICE * 300] * 3, Fraction(1), 100),
        ([1], Fraction(1, 100), 1),
        ([], TENTH, 1),
    ],
)
def test_parity_is_the_share_and_enough_for_the_share_of_the_parts(
    parts: list[int], share: Fraction, rows: int
) -> None:
    shape = shape_of(parts, [], share)
    assert (shape.rows, shape.columns <= 100) == (rows, True)


@pytest.mark.parametrize(("total", "slice_bytes"), [(1 << 20, SLICE), (1 << 40, 3356 * SLICE)])
def test_a_bundle_of_any_size_has_some_20000_slices_at_most(total: int, slice_bytes: int) -> None:
    shape = shape_of([total], [], TENTH)
    assert (shape.slice_bytes, shape.starts[-1] <= 20_000) == (slice_bytes, True)


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a path as a name": lambda it: it["files"][0].update(name="../../etc/passwd"),
    "an absolute path": lambda it: it["files"][0].update(name="/etc/passwd"),
    "a hidden file": lambda it: it["files"][0].update(name=".bashrc"),
    "another file of the directory": lambda it: it["files"][0].update(name="mirror.yaml"),
    "another file as a parity file": lambda it: it["parity"][0].update(name="mirror.yaml"),
    "the same name twice": lambda it: it["files"][1].update(name=it["files"][0]["name"]),
    "a name twice in other letters": lambda it: it["parity"][0].update(name=it["files"][0]["name"].upper()),
    "a negative size": lambda it: it["files"][0].update(size=-1),
    "a size of 8 EiB": lambda it: it["files"][0].update(size=1 << 63),
    "a size without its checksums": lambda it: it["files"][0].update(size=1 << 40),
    "a size that is a boolean": lambda it: it["files"][1].update(size=True),
    "a checksum too few": lambda it: it["files"][0]["sums"].pop(),
    "a checksum that is too long": lambda it: it["files"][0]["sums"].append("0" * 64),
    "checksums that are a string": lambda it: it["files"][0].update(sums="0" * 32),
    "another size of slices": lambda it: it.update(slice=1),
    "slices of no size": lambda it: it.update(slice=0),
    "more columns": lambda it: it.update(columns=200),
    "more stripes": lambda it: it.update(stripes=1 << 40),
    "no rows": lambda it: it.update(rows=0),
    "more rows than there are": lambda it: it.update(rows=250),
    "rows that overlap": lambda it: it["parity"][1].update(first=0),
    "rows that are missing": lambda it: it["parity"].pop(),
    "a member too few": lambda it: it.pop("subject"),
    "a member too many": lambda it: it.update(more=1),
    "another version": lambda it: it.update(version=2),
    "a subject that is no text": lambda it: it.update(subject=["it"]),
    "a subject with half a character": lambda it: it.update(subject="\ud800"),
    "files that are no list": lambda it: it.update(files=7),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_document_is_rejected(change: Callable[[dict[str, Any]], object], tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, [3 * SLICE, SLICE], Fraction(1, 2))
    value = json.loads(bundle.content[DOCUMENT])
    change(value)
    hostile = json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    bundle.lose(*bundle.parity)
    # Once as the document itself, once as the only copy of it.
    (tmp_path / DOCUMENT).write_bytes(hostile)
    with pytest.raises(Malformed):
        examine(tmp_path, "b-000001")
    line = f"mirrorsync.parity {len(hostile):020d} {sha256(hostile).hexdigest()}\n".encode()
    (tmp_path / DOCUMENT).rename(tmp_path / "b-000001.parity-01.par")
    (tmp_path / "b-000001.parity-01.par").write_bytes(b"x" + hostile + line)
    with pytest.raises(Malformed):
        examine(tmp_path, "b-000001")


def test_documents_that_differ_are_not_all_in_memory(tmp_path: Path) -> None:
    for number in range(12):
        document = bytes([number]) * 1_000_000
        (tmp_path / f"b-000001.parity-{number:02}.par").write_bytes(b"x" + document + trailer(document))
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            examine(tmp_path, "b-000001")
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"7", b"[" * 100_000, b"\xff", b'{"format":1}'])
def test_a_document_that_is_not_one_is_rejected(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse(raw, "it")


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    raw = Bundle(tmp_path, [3 * SLICE, SLICE], Fraction(1, 2)).content[DOCUMENT]
    assert to_bytes(parse(raw, "it")) == raw


def test_a_link_in_the_place_of_a_part_is_not_followed(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, [SLICE, SLICE], Fraction(1, 2))
    (tmp_path / bundle.parts[0]).rename(tmp_path / "elsewhere")
    (tmp_path / bundle.parts[0]).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MirrorsyncError, match="symbolic link"):
        examine(tmp_path, "b-000001")


def test_damage_says_what_is_missing_and_which_slices_are_wrong(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, [3 * SLICE, SLICE], Fraction(1, 2))
    assert examine(tmp_path, "b-000001") == Damage(parse(bundle.content[DOCUMENT], ""), {}, frozenset(), False)
    bundle.damage(bundle.parts[0], 1)
    bundle.lose(bundle.parts[1])
    found = examine(tmp_path, "b-000001")
    assert found.wrong == {bundle.parts[0]: {1}, bundle.parts[1]: {0}}
    assert found.missing == {bundle.parts[1]}


@pytest.mark.parametrize(("text", "share"), [("10%", TENTH), ("1%", Fraction(1, 100)), ("2.5%", Fraction(1, 40))])
def test_a_share_is_written_in_percent(text: str, share: Fraction) -> None:
    assert read_percent(text) == share


@pytest.mark.parametrize("text", ["", "10", "0%", "0.5%", "101%", "-5%", "1e1%", "10 %"])
def test_a_wrong_share_is_rejected(text: str) -> None:
    with pytest.raises(GrammarError, match="1% to 100%"):
        raise_with_remedy(lambda: read_percent(text))


def raise_with_remedy(act: Callable[[], object]) -> None:
    """Call, and raise its GrammarError with the remedy in the message."""
    try:
        act()
    except GrammarError as error:
        raise GrammarError(error.remedy) from error
