"""What `bundle inspect` tells a person who has a stick in the hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.app.bundle.applying import answer_bundle, inspect_bundle
from mirrorsync.bundle.findings import Inspected
from mirrorsync.bundle.model import Link, Source
from mirrorsync.cli.output.bundles import inspected_lines
from mirrorsync.errors import UsageError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from tests.parts.bundles import pack
from tests.parts.images import image, layer

TIME = "2026-11-20T10:00:00Z"
ONE = image([layer({"a": b"1"})])
BUNDLE = pack({"app:1": ONE}).bundle
DIGEST = Digest.of(b"the document")
ASSUMED = pack({"app:1": ONE, "app:2": image([layer({"a": b"2"})])}, has={ONE.digest}).bundle


def lines(bundle: Any = BUNDLE, **fields: Any) -> list[str]:
    return list(inspected_lines(Inspected(bundle, DIGEST, frozenset([1]), 0, **fields), whole=False))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "nothing: it is full"),
        ({"have": (Source("inventory", DIGEST, TIME),)}, f"an inventory of {TIME}"),
        (
            {"have": (Source("bundle", DIGEST, TIME), Source("generation", DIGEST, TIME))},
            f"a bundle of {TIME}, a generation of {TIME}",
        ),
        ({"have": (Source("sent", DIGEST, TIME),)}, f"what was sent until {TIME}"),
        ({"have": (Source("sent", DIGEST, TIME),), "answers": Link(3, DIGEST)}, "the answer code about bundle 3"),
    ],
)
def test_it_says_what_the_sender_knew_of_the_destination(changes: dict[str, Any], told: str) -> None:
    assert f"made against: {told}" in lines(replace(BUNDLE, **changes))


def test_it_says_that_indexes_have_only_some_of_their_images() -> None:
    chosen = (Platform.parse("linux/arm64"), Platform.parse("linux/amd64"))
    images = tuple(replace(one, platforms=chosen) for one in BUNDLE.images)
    told = "platforms: 1 image with only linux/amd64, linux/arm64 (sparse)"
    assert (told in lines(replace(BUNDLE, images=images)), told in lines()) == (True, False)


def test_it_says_which_bundles_have_brought_what_is_assumed() -> None:
    (one,) = ASSUMED.assumes
    start = f"assumes at the destination: 1 object, {one.content.size} bytes"
    assert start in lines(ASSUMED)
    sent = tuple(replace(one, sent=number) for number in (2, 5, 5))
    assert any(line.endswith(", brought by bundles 2, 5") for line in lines(replace(ASSUMED, assumes=sent)))
    assert any(line.endswith(", brought by bundle 5") for line in lines(replace(ASSUMED, assumes=sent[1:])))


def test_it_says_what_else_is_on_the_medium(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        pack({"app:1": ONE}, sequence=number).write(tmp_path)
    (tmp_path / "shop-000003.parity.json").write_bytes(b"")
    newest = inspect_bundle(tmp_path)
    assert {"parity files: here", "also here: shop-000001, shop-000002"} <= set(inspected_lines(newest, whole=False))
    oldest = inspect_bundle(tmp_path / "shop-000001.json")
    assert (oldest.parity, oldest.others) == (False, ("shop-000002", "shop-000003"))


def test_a_part_from_a_pipe_is_not_a_path() -> None:
    for act in (inspect_bundle, lambda path: answer_bundle(path, "oci:/srv/m").send(None)):
        with pytest.raises(UsageError, match="a part from a pipe is only verified and applied"):
            act("-")
