"""Bundles are imported: whole, in parts one after the other, against what the destination has, and older ones."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.app.bundle.applying import Rules, apply_bundle
from mirrorsync.app.history import read_imports
from mirrorsync.bundle.model import Link
from mirrorsync.environment import Environment
from mirrorsync.errors import Locked, StalePlan, StorageError, UsageError
from mirrorsync.events import Event, Noticed
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.signing import BUNDLE, NotTrusted, Required, sign
from mirrorsync.stores.open import opener
from mirrorsync.sync.bundle.imported import Imported
from tests.parts.bundles import Packed, Wanted, pack
from tests.parts.images import Image, artifact, image, index, layer, noise

PLAIN = index([image([layer({"a": b"1"}), layer({"b": noise("b", 3000)})]), image([layer({"a": b"2"})])])
LARGE = image([layer({"large": noise("large", 9_000)}), layer({"a": b"1"})])
SBOM = artifact(PLAIN, b"an sbom")
IMAGES = {"shop/app:1": PLAIN, "shop/app:2": LARGE, "shop/app": SBOM, "other:1": PLAIN}


class Site:
    """A far side: media, a destination, and a memory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.destination = f"oci:{directory / 'mirror'}:m"
        self.events: list[Event] = []
        self.environment = Environment(state_directory=directory / "state", observer=self.events.append)

    def medium(self, packed: Packed, *parts: int) -> Path:
        """Return a new medium with some parts of a bundle, none named = all."""
        number = len(list(self.directory.glob("medium*")))
        return packed.write(self.directory / f"medium{number}", set(parts) or None)

    def apply(self, medium: Path, *others: str, code: int = 0, **rules: Any) -> Imported:
        self.events.clear()
        done = asyncio.run(
            apply_bundle(medium, [self.destination, *others], Rules(**rules), environment=self.environment)
        )
        assert int(done.exit_code) == code, [str(failure.error) for failure in done.report.failures]
        return done

    def images(self, address: str = "") -> Mapping[str, str]:
        """Return the digests of all tags at a destination, each after all its content was read."""

        async def read() -> Mapping[str, str]:
            store = opener(Environment())(address or self.destination.removesuffix(":m"))
            found = {}
            async for name in store.repositories():
                repository = store.repository(name)
                async for tag in repository.tags():
                    root = await repository.resolve(tag)
                    assert root is not None
                    found[f"{name}:{tag}"] = str(root.digest)
                    pending = [root]
                    while pending:
                        manifest = await repository.manifest(pending.pop())
                        pending += manifest.children
                        for blob in manifest.blobs:
                            await repository.read(blob)
            await store.close()
            return found

        return asyncio.run(read())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def named(images: Wanted, prefix: str = "m/") -> dict[str, str]:
    return {f"{prefix}{key}": made.digest for key, made in images.items() if ":" in key}


@pytest.mark.parametrize("part_size", [1 << 40, 2000], ids=["one part", "many parts"])
@pytest.mark.parametrize("verify", [True, False], ids=["verified before", "verified in passing"])
def test_every_byte_and_tag_arrives_and_a_second_time_nothing_is_done(site: Site, part_size: int, verify: bool) -> None:
    medium = site.medium(pack(IMAGES, part_size=part_size))
    first = site.apply(medium, f"oci:{site.directory / 'second'}", verify=verify)
    assert first.report.outcomes["done"] == 2 * len(IMAGES)
    assert site.images() == named(IMAGES)
    assert site.images(f"oci:{site.directory / 'second'}") == named(IMAGES, "")
    blobs = {digest for made in IMAGES.values() for digest in made.all_blobs()}
    assert first.report.counts.blobs_read == len(blobs)  # each once, for both destinations
    assert (site.directory / "mirror/blobs/sha256" / SBOM.digest[7:]).read_bytes() == SBOM.raw
    again = site.apply(medium, verify=verify)
    assert again.report.outcomes == {"unchanged": len(IMAGES)}
    assert again.report.counts.blobs_read == 0


def test_images_that_wait_are_in_the_order_of_the_document(site: Site) -> None:
    packed = pack(IMAGES)
    medium = site.medium(packed)
    (medium / packed.bundle.parts[0].name).unlink()
    done = site.apply(medium, code=3)
    waiting = [f"{one.image.target.repository}:{one.image.tag}" for one in done.waiting]
    assert waiting == [f"m/{image.repository}:{image.tag}" for image in packed.bundle.images]


def test_parts_are_imported_one_after_the_other_in_any_order(site: Site) -> None:
    packed = pack(IMAGES, part_size=12_000)
    count = len(packed.bundle.parts)
    assert count > 1
    for number in range(count, 1, -1):
        done = site.apply(site.medium(packed, number), code=3)
        assert all("not here" in one.reason for one in done.waiting)
        assert {one.image.tag for one in done.waiting}
    done = site.apply(site.medium(packed, 1))
    assert done.waiting == ()
    assert site.images() == named(IMAGES)


def test_content_of_an_image_that_waits_is_imported_before_its_medium_is_taken_away(site: Site) -> None:
    two = image([layer({"one": noise("1", 3000)}), layer({"two": noise("2", 3000)})])
    packed = pack({"app:1": two}, part_size=4000)
    first = site.apply(site.medium(packed, 1), code=3)
    assert first.early.blobs > 0
    assert site.images() == {}
    last = site.apply(site.medium(packed, 2))
    assert last.report.counts.blobs_read + first.early.blobs == len(two.blobs)
    assert site.images() == {"m/app:1": two.digest}


def test_what_the_bundle_assumes_is_taken_from_the_destination(site: Site) -> None:
    site.apply(site.medium(pack({"base:1": LARGE})))
    child = PLAIN.children[0]
    more = index([child, LARGE])  # one of its images is only in another repository of the destination
    has = {LARGE.digest, *LARGE.blobs}
    moved = {"base:1": LARGE, "base:2": LARGE, "shop/app:1": more}
    done = site.apply(site.medium(pack(moved, has=has, sequence=2)))
    assert done.report.counts.blobs_read == len(set(child.blobs) - has)
    assert site.images() == named(moved)


def test_what_is_assumed_and_missing_is_named_and_the_rest_is_imported(site: Site) -> None:
    lost = next(iter(LARGE.blobs))
    done = site.apply(site.medium(pack(IMAGES, has={lost})), code=3)
    (waiting,) = done.waiting
    assert waiting.image.tag == "2"
    assert [lack.content.digest for lack in waiting.lacks] == [lost]
    assert "the destination lacks it; the bundle assumes that it is there" in waiting.reason
    assert site.images() == named({key: made for key, made in IMAGES.items() if made is not LARGE})
    site.apply(site.medium(pack(IMAGES, sequence=2)))
    assert site.images() == named(IMAGES)


def test_an_older_bundle_and_another_one_of_the_same_number_are_refused(site: Site) -> None:
    old, new = pack({"app:1": PLAIN}, sequence=1), pack({"app:1": LARGE}, sequence=2)
    mixed = pack({"app:1": SBOM}, sequence=2)
    site.apply(site.medium(old))
    site.apply(site.medium(new))
    with pytest.raises(StalePlan, match="bundle 1 is older than bundle 2"):
        site.apply(site.medium(old))
    with pytest.raises(StalePlan, match="another bundle of the number 2"):
        site.apply(site.medium(mixed))
    assert site.images() == {"m/app:1": LARGE.digest}
    site.apply(site.medium(old), older=True)
    assert site.images() == {"m/app:1": PLAIN.digest}


def test_without_a_memory_it_is_said_that_an_older_bundle_would_not_be_noticed(site: Site) -> None:
    site.environment = replace(site.environment, state_directory=None)
    site.apply(site.medium(pack({"app:1": PLAIN})))
    (notice,) = [one.message for one in site.events if isinstance(one, Noticed)]
    assert "an older bundle would not be noticed" in notice


def test_a_bundle_that_was_left_out_is_reported(site: Site) -> None:
    site.apply(site.medium(pack({"app:1": PLAIN})))
    some = set(PLAIN.all_blobs())
    for number, has, told in (
        (3, set(), "this one needs nothing of it"),
        (5, some, "images wait if they need what is"),
    ):
        late = pack(
            {"app:1": PLAIN, "app:2": LARGE}, has=has, sequence=number, previous=Link(number - 1, Digest.of(b"2"))
        )
        site.apply(site.medium(late))
        (notice,) = [one.message for one in site.events if isinstance(one, Noticed)]
        assert notice.startswith(f"bundle {number - 1} of this sender was not applied to {site.destination}: {told}")


def test_a_bundle_that_goes_on_from_others_which_this_site_has_not_seen_is_reported(site: Site) -> None:
    """It may be for another site, whose registry has the same address."""

    def told(packed: Packed, code: int) -> int:
        site.apply(site.medium(packed), code=code)
        notices = [one.message for one in site.events if isinstance(one, Noticed)]
        return sum("no bundle of this sender was applied to" in one for one in notices)

    third = Link(3, Digest.of(b"3"))
    assert told(pack({"app:1": LARGE}, name="full", sequence=4, previous=third), 0) == 0
    lost = next(iter(PLAIN.children[0].blobs))
    assert told(pack({"app:1": PLAIN}, has={lost}, sequence=4, previous=third), 3) == 1
    assert told(pack({"app:1": PLAIN}, has={lost}, sequence=5, previous=third), 3) == 0


def test_a_wrong_destination_is_refused_with_the_right_one(site: Site) -> None:
    medium = site.medium(pack(IMAGES, destination="harbor.corp/mirror"))
    with pytest.raises(UsageError, match=r"made for harbor\.corp/mirror") as caught:
        site.apply(medium)
    assert "--to harbor.corp/mirror" in caught.value.remedy
    assert not (site.directory / "mirror").exists()
    site.apply(medium, elsewhere=True)


def test_an_import_to_a_destination_that_does_not_answer_is_remembered_with_what_failed(site: Site) -> None:
    site.environment = replace(site.environment, retries=0)
    site.destination = "127.0.0.1:1/m"
    site.apply(site.medium(pack({"a:1": PLAIN, "b:1": PLAIN})), code=1)
    assert read_imports(environment=site.environment)[0].counts == {"failed": 2}


def test_an_import_that_ends_with_an_error_is_remembered_and_one_that_is_refused_is_not(site: Site) -> None:
    medium = site.medium(pack({"app:1": PLAIN}, sequence=2))
    other = opener(Environment())(site.destination.removesuffix(":m"))
    other.lock()
    with pytest.raises(Locked) as caught:
        site.apply(medium)
    asyncio.run(other.close())
    (told,) = read_imports(environment=site.environment)
    assert (told.exit_code, told.error, told.counts) == (6, str(caught.value), {})
    assert told.destinations == (site.destination,)
    site.apply(medium)
    with pytest.raises(StalePlan):
        site.apply(site.medium(pack({"app:1": PLAIN})))
    assert [one.error for one in read_imports(environment=site.environment)] == ["", told.error]


def test_a_state_directory_that_cannot_be_written_is_noticed_before_anything_is_read(site: Site) -> None:
    (site.directory / "file").write_bytes(b"")
    site.environment = replace(site.environment, state_directory=site.directory / "file/state")
    with pytest.raises(StorageError, match=r"cannot write .*/file/state: Not a directory") as caught:
        site.apply(site.medium(pack({"app:1": PLAIN})))
    assert caught.value.remedy == "set STATE_DIRECTORY to a writable directory"
    assert site.events == []
    assert not (site.directory / "mirror").exists()


def test_a_tag_that_another_client_has_moved_is_replaced_and_reported(site: Site) -> None:
    site.apply(site.medium(pack({"app:1": PLAIN})))

    async def move() -> None:
        store = opener(Environment())(site.destination.removesuffix(":m"))
        repository = store.repository("m/app")
        await repository.tag(await repository.manifest(await _resolved(repository, PLAIN.children[1])), Tag("1"))
        await store.close()

    asyncio.run(move())
    site.apply(site.medium(pack({"app:1": LARGE}, sequence=2)))
    assert any("which no bundle has brought" in one.message for one in site.events if isinstance(one, Noticed))
    assert site.images() == {"m/app:1": LARGE.digest}


def test_what_earlier_bundles_have_brought_is_no_surprise_if_a_later_one_failed_or_waits(site: Site) -> None:
    site.apply(site.medium(pack({"app:1": PLAIN})))
    packed = pack({"app:1": LARGE, "other:1": PLAIN}, sequence=2)
    medium = site.medium(packed)
    other = opener(Environment())(site.destination.removesuffix(":m"))
    other.lock()
    with pytest.raises(Locked):
        site.apply(medium)
    asyncio.run(other.close())
    (medium / packed.bundle.parts[0].name).unlink()
    site.apply(medium, code=3)
    packed.write(medium)
    site.apply(medium)
    assert [one.message for one in site.events if isinstance(one, Noticed)] == []
    site.apply(site.medium(pack({"app:1": PLAIN}, sequence=3)))
    assert [one.message for one in site.events if isinstance(one, Noticed)] == []


async def _resolved(repository: Any, made: Image) -> Any:
    return await repository.resolve(Digest(made.digest))


@pytest.mark.parametrize(
    ("destinations", "message"),
    [
        (["docker-archive:x.tar"], "does not keep manifests"),
        (["oci:/x:a", "oci:/x:b"], "the store of two destinations"),
    ],
)
def test_destinations_that_cannot_be_are_refused(site: Site, destinations: list[str], message: str) -> None:
    medium = site.medium(pack({"app:1": PLAIN}))
    with pytest.raises(UsageError, match=message):
        asyncio.run(apply_bundle(medium, destinations, environment=site.environment))


def test_too_few_signatures_are_refused_before_anything_is_read_or_copied(site: Site, tmp_path: Path) -> None:
    packed = pack({"app:1": PLAIN})
    key, allowed = tmp_path / "key", tmp_path / "allowed"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    allowed.write_text(f"ops@corp.example {key.with_suffix('.pub').read_text()}")
    required = Required(allowed)
    unsigned = site.medium(packed)
    with pytest.raises(NotTrusted, match="not signed"):
        site.apply(unsigned, signers=required)
    assert not (tmp_path / "mirror").exists()
    signature = sign(packed.document, key, BUNDLE, {})
    inside = site.medium(packed)
    (inside / packed.bundle.parts[0].name).write_bytes(packed.part(1, [signature]))
    beside = site.medium(packed)
    (beside / f"{packed.bundle.stem}.json.sig").write_bytes(signature)
    for medium in (inside, beside):
        site.apply(medium, signers=required)
        assert any("signed by ops@corp.example" in one.message for one in site.events if isinstance(one, Noticed))
    site.apply(unsigned, signers=required, unsigned=True)
    damaged = bytearray(packed.part(1, [signature]))
    damaged[damaged.index(b"BEGIN SSH SIGNATURE") + 40] ^= 1
    (inside / packed.bundle.parts[0].name).write_bytes(damaged)
    with pytest.raises(NotTrusted):
        site.apply(inside, signers=required, unsigned=True)


def test_a_tag_moves_to_an_image_that_its_repository_has_and_no_part(site: Site) -> None:
    site.apply(site.medium(pack({"app:1": PLAIN, "app:2": LARGE})))
    has = {LARGE.digest, *LARGE.all_blobs()}
    done = site.apply(site.medium(pack({"app:1": LARGE, "app:2": LARGE}, has=has, sequence=2)))
    assert done.waiting == ()
    assert site.images() == {"m/app:1": LARGE.digest, "m/app:2": LARGE.digest}
