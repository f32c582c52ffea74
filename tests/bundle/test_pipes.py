"""A part from a pipe: each byte is read once, in order; its blobs arrive before its tags, damaged ones never do."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

import pytest

from mirrorsync.app.bundle.applying import apply_bundle, verify_bundle
from mirrorsync.bundle.findings import Damage
from mirrorsync.bundle.layout import layout
from mirrorsync.environment import Environment
from mirrorsync.errors import Malformed
from mirrorsync.sync.bundle.imported import Imported
from tests.bundle.test_apply import IMAGES, Site, named
from tests.parts.bundles import pack
from tests.parts.images import image, noise

LARGE = pack({"big:1": image([noise("big", 3_000_000)]), "small:1": image([b"small"])})


class Pipe(io.RawIOBase):
    """Bytes that can be read once, in order, a few at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self.largest = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        self.largest = max(self.largest, size)
        found, self._data = self._data[: min(size, 70_000)], self._data[min(size, 70_000) :]
        return bytes(found)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def send(site: Site, data: bytes, monkeypatch: pytest.MonkeyPatch, *others: str) -> Imported:
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": Pipe(data)}))
    return asyncio.run(apply_bundle("-", [site.destination, *others], environment=site.environment))


def verify(data: bytes, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Damage, str]]:
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": Pipe(data)}))
    found = asyncio.run(verify_bundle("-", environment=Environment()))
    return [(one.damage, one.member) for one in found.findings]


def test_every_byte_and_tag_arrives_at_all_destinations_with_one_reading(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed, second = pack(IMAGES), f"oci:{site.directory / 'second'}"
    done = send(site, packed.part(1), monkeypatch, second)
    assert int(done.exit_code) == 0
    assert site.images() == named(IMAGES)
    assert site.images(second) == named(IMAGES, "")
    assert done.report.counts.blobs_read == len({digest for made in IMAGES.values() for digest in made.all_blobs()})
    again = send(site, packed.part(1), monkeypatch, second)
    assert again.report.outcomes == {"unchanged": 2 * len(IMAGES)}
    assert again.report.counts.blobs_read == 0
    assert verify(packed.part(1), monkeypatch) == []


def test_parts_are_sent_one_after_the_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack({key: made for key, made in IMAGES.items() if key != "shop/app:2"}, part_size=3300)
    count = len(packed.bundle.parts)
    assert count > 1
    codes = [int(send(site, packed.part(number), monkeypatch).exit_code) for number in range(count, 0, -1)]
    assert codes == [3] * (count - 1) + [0]


def test_a_damaged_blob_is_named_and_never_arrives_and_the_others_do(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(LARGE.part(1))
    big = next(one for one in layout(LARGE.bundle, 1, LARGE.document).entries if one.member.size == 3_000_000)
    data[big.start + 2_000_000] ^= 1
    done = send(site, bytes(data), monkeypatch)
    assert int(done.exit_code) == 4
    assert [one.image.target.repository for one in done.waiting] == ["m/big"]
    assert site.images() == {"m/small:1": LARGE.bundle.images[1].content.digest}
    assert not (site.directory / "mirror/blobs/sha256" / big.member.digest.encoded).exists()
    assert verify(bytes(data), monkeypatch) == [(Damage.DAMAGED, big.member.name)]
    assert int(send(site, LARGE.part(1), monkeypatch).exit_code) == 0
    assert "m/big:1" in site.images()


def test_a_pipe_that_ends_early_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = LARGE.part(1)
    done = send(site, whole[:2_000_000], monkeypatch)
    assert int(done.exit_code) == 4
    (ended,) = done.report.failures  # whatever was to come after it
    assert str(ended.error) == f"standard input ends after 2000000 of {len(whole)} bytes"
    assert all("cannot be read" in one.reason for one in done.waiting)
    assert "m/big:1" not in site.images()
    places = layout(LARGE.bundle, 1, LARGE.document).entries
    for wrong in (b"", b"no tar" * 1000, whole[:2000], whole[: places[2].start + 10], whole[: places[3].offset]):
        with pytest.raises(Malformed):
            send(site, wrong, monkeypatch)


def test_pieces_from_a_pipe_hold_up_their_image_and_are_joined_from_a_directory(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack({"big:1": image([noise("cut", 9_000)]), "small:1": image([b"small"])}, part_size=4000)
    count = len(packed.bundle.parts)
    assert count > 1
    for number in range(1, count + 1):
        done = send(site, packed.part(number), monkeypatch)
        (big,) = [one for one in done.waiting if one.image.target.repository == "m/big"]
        others = [other for other in range(1, count + 1) if other != number]
        are = "part {} is" if len(others) == 1 else "parts {} are"
        listed = are.format(", ".join(map(str, others)))
        assert f"its pieces are in {count} parts of {count}, and {listed} not here" in big.reason
        assert int(done.exit_code) == 3
    assert site.images().keys() == {"m/small:1"}
    assert site.apply(site.medium(packed)).waiting == ()
    assert site.images().keys() == {"m/big:1", "m/small:1"}


def test_manifests_beyond_what_is_kept_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirrorsync.stores.bundle.piped._MOST_KEPT", 500)
    with pytest.raises(Malformed, match="more than 500 bytes of manifests"):
        send(site, LARGE.part(1), monkeypatch)
