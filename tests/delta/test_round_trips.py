"""Blobs come back bit for bit, whatever compressed them, and their deltas are small."""

from __future__ import annotations

import io
import random

import pytest

from mirrorsync.delta import available
from mirrorsync.oci.digest import Digest
from tests.delta.samples import COMPRESSORS, applied, changed, content, delta, gnu, igzip, zlib_like

OLD = content(150_000)
NEW = changed(OLD)


def test_the_compiled_part_is_installed() -> None:
    assert available()
    assert available().reason == ""


@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_blob_comes_back_whatever_compressed_it(name: str) -> None:
    old, new = COMPRESSORS[name](OLD), COMPRESSORS[name](NEW)
    made = delta(old, new)
    assert made is not None
    assert len(made) < 0.3 * len(new)
    assert applied(old, made) == new


@pytest.mark.parametrize("name", ["GNU gzip -1", "GNU gzip -6", "GNU gzip -9", "zlib 4", "zlib 6", "zlib 9"])
def test_what_zlib_chooses_is_not_in_the_delta(name: str) -> None:
    # 25 KB of content, of which 20 KB are only moved, are new: the delta has those, and no choices of the compressor.
    plain = delta(OLD, NEW)
    made = delta(COMPRESSORS[name](OLD), COMPRESSORS[name](NEW))
    assert plain is not None
    assert made is not None
    assert len(made) < len(plain) + 600


def test_old_and_new_may_be_of_different_compressors() -> None:
    for before, after in [(igzip(2), gnu(6)), (gnu(9), zlib_like(6)), (bytes, gnu(6)), (gnu(6), bytes)]:
        old, new = before(OLD), after(NEW)
        made = delta(old, new)
        assert made is not None
        assert len(made) < 0.1 * len(new)
        assert applied(old, made) == new


def test_content_of_several_segments_and_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    # The limits of memory, made small: blocks are cut into parts, windows are chosen, and everything continues.
    from mirrorsync.delta import applying, form, making, old, pieces, walk

    for module in (walk, pieces, form, making, old):
        for name, value in (("SEGMENT_BYTES", 20_000), ("WINDOW_BYTES", 40_000), ("CHUNK_BYTES", 5_000)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(form, "_CONTENT", 20_258)
    monkeypatch.setattr(old, "CHECKPOINTS", 4)  # chunks are read on from one that is up to eight before them
    for module in (making, applying):
        monkeypatch.setattr(module, "WRITING_BYTES", 9_000)  # a window of which not everything is used
    for name in (
        "GNU gzip -6",
        "isal 0",
        "members",
        "flushes",
        "zlib stored",
        "length 258 both ways",
        "not compressed",
    ):
        before, after = COMPRESSORS[name](OLD), COMPRESSORS[name](NEW)
        made = delta(before, after)
        assert made is not None, name
        assert applied(before, made) == after, name


@pytest.mark.parametrize("name", ["GNU gzip -6", "isal 0", "members"])
def test_chunks_of_an_old_layer_are_read_in_any_selection(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mirrorsync.delta import old
    from mirrorsync.delta._deflate import Predictor
    from mirrorsync.delta.limits import PREDICTORS

    monkeypatch.setattr(old, "CHECKPOINTS", 4)
    predictor, chance = Predictor(PREDICTORS[0], 2000), random.Random(1)
    data = COMPRESSORS[name](OLD)
    known = old.read_old(io.BytesIO(data), Digest.of(data), gzip=True, chunk_bytes=5000, seen=lambda *_: None)
    everything = range(known.count)
    contents, writings = list(known.content(everything)), list(known.writing(everything, predictor))
    assert b"".join(contents) == OLD
    for count in range(1, known.count, 3):
        some = sorted(chance.sample(everything, count))
        assert list(known.content(some)) == [contents[chunk] for chunk in some]
        assert list(known.writing(some, predictor)) == [writings[chunk] for chunk in some]


def test_one_segment_that_does_not_compress_spoils_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from mirrorsync.delta import making

    monkeypatch.setattr(making, "SEGMENT_BYTES", 150_000)
    random_file = random.Random(7).randbytes(400_000)
    made = delta(gnu(6)(OLD), gnu(6)(NEW[:70_000] + random_file + NEW[70_000:]))
    assert made is not None
    assert len(made) < len(random_file) + 30_000


def test_the_same_blob_is_next_to_nothing() -> None:
    new = gnu(6)(NEW)
    made = delta(new, new)
    assert made is not None
    assert len(made) < 600
    assert applied(new, made) == new


def test_no_delta_is_made_of_what_has_nothing_in_common() -> None:
    chance = random.Random(3)
    for data in (chance.randbytes(100_000), gnu(6)(chance.randbytes(100_000))):
        assert delta(gnu(6)(OLD), data) is None


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b\x08", gnu(6)(b""), gnu(6)(b"a"), b"a"])
def test_tiny_blobs_go_whole(data: bytes) -> None:
    assert delta(gnu(6)(OLD), data) is None
    if data:
        assert delta(data, data) is None


def test_a_blob_that_is_damaged_gzip_goes_whole() -> None:
    new = gnu(6)(NEW)
    assert delta(gnu(6)(OLD), new[:-30]) is None
    assert delta(gnu(6)(OLD), new[:10] + b"\xff" + new[11:]) is None


def test_an_old_blob_that_is_damaged_gzip_is_used_as_bytes() -> None:
    old = gnu(6)(OLD)[:-30]
    new = old + b"more"
    assert delta(old, b"\0" + old) is not None
    assert delta(old, new) is None  # begins as gzip, and is not: whole
