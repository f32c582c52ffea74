"""What a far side lacks comes back as a code, and the sender sends just that, and remembers it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mirrorsync.app.bundle.applying import answer_bundle, apply_bundle
from mirrorsync.app.bundle.creating import Bundled
from mirrorsync.app.bundle.past import gap
from mirrorsync.bundle.model import Link
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.oci.digest import Digest
from mirrorsync.state import Applied
from mirrorsync.sync.bundle.imported import Imported
from tests.app.test_bundling import Side, made
from tests.parts.images import Image


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path)


class FarSide:
    """The destination of a side's bundles."""

    def __init__(self, side: Side) -> None:
        self.directory = side.directory
        self.environment = Environment(state_directory=side.directory / "far-state")
        self.address = f"oci:{side.directory / 'far'}"

    def apply(self, medium: str) -> Imported:
        return asyncio.run(apply_bundle(self.directory / medium, [self.address], environment=self.environment))

    def code(self, path: str) -> str:
        return asyncio.run(answer_bundle(self.directory / path, self.address, environment=self.environment)).code


def carried(done: Bundled) -> set[str]:
    assert done.bundle is not None
    return {one.digest for one in done.bundle.objects}


def content(*images: Image) -> set[str]:
    return {digest for one in images for digest in (one.digest, *one.all_blobs())}


@pytest.fixture
def lost(side: Side) -> tuple[Side, FarSide]:
    """Return both sides after bundle 1 arrived, 2 was lost, and 3 was applied."""
    far = FarSide(side)
    side.seed({"app:1": made("1")})
    side.create("first")
    side.seed({"app:2": made("2")})
    side.create("second", "sent")
    side.seed({"app:3": made("3")})
    side.create("third", "sent")
    far.apply("first")
    shutil.rmtree(side.directory / "second")
    return side, far


def test_what_a_lost_bundle_carried_is_named_and_just_that_is_sent_again(lost: tuple[Side, FarSide]) -> None:
    side, far = lost
    done = far.apply("third")
    assert [one.image.tag for one in done.waiting] == ["2"]
    again = side.create("again", answer=done.answer)
    shared = content(made("1")) & content(made("2"))
    assert carried(again) == content(made("2")) - shared
    assert again.bundle is not None
    assert again.bundle.answers is not None
    assert (again.bundle.sequence, again.bundle.answers.sequence) == (4, 3)
    assert far.apply("again").exit_code == 0
    assert far.code("again") == ""


def test_the_document_or_one_part_is_enough_for_a_code_and_parts_here_do_not_count(lost: tuple[Side, FarSide]) -> None:
    side, far = lost
    before = far.code("third")
    assert carried(side.create("all", answer=before)) > content(made("2")) - content(made("1"))
    after = far.apply("third").answer
    assert far.code("third/shop-000003.001of001.tar") == after != before
    (side.directory / "third/shop-000003.001of001.tar").unlink()
    assert far.code("third/shop-000003.json") == after


def test_after_an_answer_the_next_bundle_counts_on_nothing_that_was_lost(lost: tuple[Side, FarSide]) -> None:
    side, far = lost
    code = far.apply("third").answer
    side.create("again", answer=code)  # is lost, too
    side.seed({"app:4": made("4")})
    both = content(made("2"), made("4")) - content(made("1"))
    assert carried(side.create("other", answer=code)) == both  # the same code again: no bundle after it counts
    assert carried(side.create("next", "sent", answer=code)) == both
    side.seed({"app:5": made("5")})
    assert carried(side.create("last", "sent")) == content(made("5")) - content(made("1"))


def test_an_answer_without_anything_new_corrects_the_memory_and_names_what_sources_dropped(
    lost: tuple[Side, FarSide],
) -> None:
    side, far = lost
    code = far.apply("third").answer
    two = side.images.pop("app:2")
    side.seed({})
    done = side.create("again", answer=code)
    assert done.bundle is None
    assert [(one.subject, one.error.message) for one in done.plan.failures] == [
        ("app:2", "the far side lacks it, and its source does not have it any more")
    ]
    side.seed({"app:2": two})
    assert carried(side.create("back", "sent")) == content(two) - content(made("1"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda side: (side.directory / "state").rename(side.directory / "old"), "not about bundles 'shop'"),
        (
            lambda side: next((side.directory / "state").rglob("000003.json")).unlink(),
            "bundle 3, which is not remembered here any more",
        ),
    ],
    ids=["another machine", "forgotten"],
)
def test_a_code_that_the_sender_cannot_read_is_rejected_with_the_reason(
    lost: tuple[Side, FarSide], change: Callable[[Side], object], told: str
) -> None:
    side, far = lost
    code = far.apply("third").answer
    change(side)
    with pytest.raises(UsageError, match=told):
        side.create("again", answer=code)
    with pytest.raises(UsageError, match="tells what the far side has"):
        side.create("again", "third", answer=code)


DIGESTS = [Digest.of(bytes([number])) for number in range(10)]


@pytest.mark.parametrize(
    ("last", "previous", "told"),
    [
        (4, None, ""),
        (4, Link(4, DIGESTS[4]), ""),
        (4, Link(3, DIGESTS[3]), ""),
        (4, Link(4, DIGESTS[5]), "another bundle of the number 4 than that of its sender was applied"),
        (4, Link(5, DIGESTS[5]), "bundle 5 of this sender was not applied"),
        (4, Link(6, DIGESTS[6]), "bundles 5 and 6 of this sender were not applied"),
        (4, Link(9, DIGESTS[9]), "bundles 5 to 9 of this sender were not applied"),
    ],
)
def test_bundles_that_were_not_applied_in_between_are_named(last: int, previous: Link | None, told: str) -> None:
    assert gap(Applied(last, DIGESTS[last]), previous) == told
