"""What a bundle is made against: generations, inventories that are not of its destination, and own bundles."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirrorsync.app.bundle.applying import apply_bundle
from mirrorsync.app.bundle.creating import create_bundle, plan_bundle
from mirrorsync.app.bundle.inventories import make_inventory, save_inventory, save_signed_inventory
from mirrorsync.app.bundle.signers import SignerChoice
from mirrorsync.app.runs import apply_spec
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.events import Noticed
from mirrorsync.signing import NotTrusted
from tests.app.test_bundling import Side, all_content, content, made, noise
from tests.parts.images import Image, artifact, image, layer, multi_platform


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path)


def test_a_generation_is_what_a_destination_had_that_was_filled_on_this_side(side: Side) -> None:
    """A disk is filled here, moved across, and gets the difference from then on."""
    both = multi_platform("app")
    side.cached = True
    side.seed({"app:1": both, "app:2": made("2")})
    side.destination = f"oci:{side.directory / 'far'}"
    asyncio.run(apply_spec(side.wanted().spec, environment=side.environment))
    shutil.copytree(side.directory / "far", side.directory / "moved")
    moved, late = made("moved"), made("late")
    side.seed({"app:2": moved, "app:3": late})
    asyncio.run(apply_spec(side.wanted().spec, environment=side.environment))
    done = side.create("out", "generation:1")
    assert done.bundle is not None
    lacking = {key: data for key, data in all_content(moved, late).items() if key not in made("2").blobs}
    assert content(side.directory / "out").keys() == lacking.keys()
    assert [one.kind for one in done.bundle.have] == ["generation"]
    assert done.bundle.destination == side.destination
    assert side.create("none", "generation:2").bundle is None
    shutil.rmtree(side.directory / "far")
    (side.directory / "moved").rename(side.directory / "far")
    applied = apply_bundle(side.directory / "out", [side.destination], environment=side.environment)
    assert asyncio.run(applied).exit_code == 0


def test_an_image_of_a_generation_that_cannot_be_read_any_more_goes_whole_and_is_named(side: Side) -> None:
    side.seed({"app:1": made("1"), "app:2": made("2")})
    side.destination = f"oci:{side.directory / 'far'}"
    asyncio.run(apply_spec(side.wanted().spec, environment=side.environment))
    next_version = image([*(layer({name: noise(name, 1000)}) for name in ("1", "new")), layer({"shared": b"by all"})])
    side.seed({"app:1": next_version})
    noticed: list[Any] = []
    wanted = side.wanted("generation:1")
    environment = replace(side.environment, observer=noticed.append)
    done = asyncio.run(create_bundle(wanted, str(side.directory / "out"), environment=environment))
    of_another = made("2").blobs
    assert content(side.directory / "out").keys() == all_content(next_version).keys() - of_another.keys()
    assert done.bundle is not None
    (notice,) = [one.message for one in noticed if isinstance(one, Noticed)]
    assert notice == "1 image counts as absent, and would go whole: app:1: its source does not have it any more"


def fill(side: Side, images: dict[str, Image]) -> None:
    """Add images to the source, and mirror it to a disk."""
    side.seed(images)
    side.destination = f"oci:{side.directory / 'far'}"
    asyncio.run(apply_spec(side.wanted().spec, environment=side.environment))


def against(side: Side, generation: int, *, changed: Mapping[str, Image]) -> tuple[set[str], list[str]]:
    """Change images at the source, and import the difference to a generation on a copy of the disk.

    Return the digests that the bundle has, and the notices.
    """
    side.seed(changed)
    told: list[Any] = []
    environment = replace(side.environment, observer=told.append)
    out = side.directory / f"out-{len(list(side.directory.glob('out-*')))}"
    asyncio.run(create_bundle(side.wanted(f"generation:{generation}"), str(out), environment=environment))
    notices = [one.message for one in told if isinstance(one, Noticed)]
    applied = apply_bundle(out, [side.destination], environment=side.environment)
    assert asyncio.run(applied).exit_code == 0
    return set(content(out)), notices


@pytest.mark.parametrize("cached", [True, False])
def test_an_index_that_was_made_of_some_platforms_is_in_a_generation(side: Side, *, cached: bool) -> None:
    """No source has it: it is in the cache of manifests, or is made again."""
    side.cached, side.mirror = cached, {"platforms": {"only": ["linux/amd64"], "index": "rewrite"}}
    first, other, new = multi_platform("app"), multi_platform("other"), made("new")
    images = {"app:1": first, "app:2": made("2"), "app:other": other}
    later = multi_platform("other", "2")
    fill(side, images)
    carried, notices = against(side, 1, changed={"app:3": new, "app:other": later})
    assert carried.isdisjoint(all_content(first, made("2")))
    assert carried > all_content(new).keys() - made("2").blobs.keys()
    # Without the cache it is not known what the index that was replaced had: its images go whole.
    shared = other.children[0].blobs.keys() & later.children[0].blobs.keys()
    assert carried.isdisjoint(shared) == cached
    absent = "1 image counts as absent, and would go whole: app:other: its source does not have it any more"
    assert notices == ([] if cached else [absent])


@pytest.mark.parametrize("cached", [True, False])
def test_a_sparse_index_is_in_a_generation_with_the_images_that_were_mirrored(side: Side, *, cached: bool) -> None:
    """If the spec wants another platform since, the index goes with that image alone."""
    side.cached, side.mirror = cached, {"platforms": {"only": ["linux/amd64"], "index": "sparse"}}
    sparse, single, new = multi_platform("app"), made("2"), made("new")
    amd64, arm64 = sparse.children
    fill(side, {"app:1": sparse, "app:2": single})
    carried, notices = against(side, 1, changed={"app:3": new})
    assert (carried, notices) == (all_content(new).keys() - single.blobs.keys(), [])
    side.mirror = {"platforms": {"only": ["linux/amd64", "linux/arm64"], "index": "sparse"}}
    wider, _ = against(side, 1, changed={})
    assert wider - carried == {sparse.digest} | (all_content(arm64).keys() - all_content(amd64).keys())


def test_platforms_that_a_sparse_index_got_without_a_new_generation_are_in_the_next_one(side: Side) -> None:
    """The tag names the same digest, so that no generation was made: a disk may have been carried off before."""
    side.mirror = {"platforms": {"only": ["linux/amd64"], "index": "sparse"}}
    sparse = multi_platform("app")
    arm64 = all_content(sparse.children[1]).keys() - all_content(sparse.children[0]).keys()
    fill(side, {"app:1": sparse})
    side.mirror = {"platforms": {"only": ["linux/amd64", "linux/arm64"], "index": "sparse"}}
    fill(side, {})
    carried, _ = against(side, 1, changed={})
    assert carried >= arm64
    fill(side, {"app:2": made("2")})
    assert side.create("none", "generation:2").bundle is None


def test_a_sparse_index_of_a_run_that_did_not_remember_its_platforms_goes_whole_and_is_named(side: Side) -> None:
    """The state file is of an earlier version."""
    side.mirror = {"platforms": {"only": ["linux/amd64"], "index": "sparse"}}
    sparse, single, new = multi_platform("app"), made("2"), made("new")
    fill(side, {"app:1": sparse, "app:2": single})
    (file,) = (side.directory / "state").glob("*.sqlite")
    with closing(sqlite3.connect(file)) as state, state:
        state.execute("DELETE FROM generation_platforms")
    carried, notices = against(side, 1, changed={"app:3": new})
    wanted = {sparse.digest, *all_content(sparse.children[0])}
    assert carried == wanted | (all_content(new).keys() - single.blobs.keys())
    (notice,) = notices
    assert notice.endswith("go whole: app:1: it is not remembered which platforms of its index were mirrored")


def test_referrers_and_images_without_a_tag_are_in_a_generation(side: Side) -> None:
    """Those that came later are not, until the next one: a disk may have been carried off before."""
    app, pinned, new = made("1"), made("pinned"), made("new")
    sbom, signature, late = artifact(app, b"an sbom"), artifact(app, b"a signature"), artifact(app, b"a late sbom")
    on_sbom = artifact(sbom, b"a signature of the sbom")
    first = {"app:1": app, f"app:{app.digest.replace(':', '-')}.sig": signature}
    untagged = {f"app@{one.digest}": one for one in (sbom, on_sbom, pinned)}
    side.mirror = {"referrers": True, "tags": ["1", pinned.digest]}
    fill(side, {**first, **untagged})
    assert side.create("none", "generation:1").bundle is None
    fill(side, {f"app@{late.digest}": late})
    side.mirror["tags"] = ["1", "2", pinned.digest]
    carried, notices = against(side, 1, changed={"app:2": new})
    assert carried == all_content(new, late).keys() - all_content(app, signature).keys()
    assert notices == []
    fill(side, {})
    assert side.create("none", "generation:2").bundle is None


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("generation:x", "generation:x is not the number of a generation"),
        ("generation:7", "there is no generation 7: there are 1 to 1"),
        ("generation:1", "generation 1 has no images at corp.invalid/m"),
    ],
)
def test_a_generation_that_says_nothing_of_the_destination_is_refused(side: Side, word: str, told: str) -> None:
    side.seed({"app:1": made("1")})
    side.destination = f"oci:{side.directory / 'far'}"
    asyncio.run(apply_spec(side.wanted().spec, environment=side.environment))
    side.destination = "corp.invalid/m"
    with pytest.raises(UsageError, match=told):
        side.create("out", word)


def key_of(directory: Path, name: str) -> tuple[str, str]:
    """Make an SSH key; return its path, and its line of a file of allowed signers."""
    path = directory / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return str(path), f"{name}@corp {path.with_suffix('.pub').read_text()}"


def test_an_inventory_of_another_destination_is_named_when_the_bundle_is_made_and_refused_when_it_is_applied(
    side: Side,
) -> None:
    """Whoever swaps the file gets a bundle that lacks what its destination lacks; a signature does not prevent that."""
    side.seed({"app:1": made("1"), "app:2": made("2")})
    key, line = key_of(side.directory, "ops")
    (side.directory / "allowed").write_text(line)
    side.destination = f"oci:{side.directory / 'far'}"
    swapped = side.directory / "far.json"
    inventory = asyncio.run(make_inventory(f"oci:{side.directory / 'source'}"))[0]
    for output, signers in (("unsigned", SignerChoice()), ("signed", SignerChoice(str(side.directory / "allowed")))):
        save_signed_inventory(inventory, str(swapped), [key] if output == "signed" else [])
        side.seed({"app:3": made("3")})
        noticed: list[Any] = []
        environment = replace(side.environment, observer=noticed.append)
        wanted = side.wanted(swapped, signers=signers)
        asyncio.run(create_bundle(wanted, str(side.directory / output), environment=environment))
        assert any(
            f"--have is about oci:{side.directory / 'source'}, and the bundle is only for that; "
            f"the destination of the spec is {side.destination}" in one.message
            for one in noticed
            if isinstance(one, Noticed)
        )
        applied = apply_bundle(side.directory / output, [side.destination], environment=side.environment)
        with pytest.raises(UsageError, match=f"made for oci:{side.directory / 'source'}"):
            asyncio.run(applied)
    assert not (side.directory / "far").exists()
    content_ = swapped.read_bytes()
    swapped.write_bytes(content_.replace(b'"tags"', b'"tagz"', 1))
    with pytest.raises(NotTrusted, match=r"far\.json is "):
        asyncio.run(create_bundle(wanted, str(side.directory / "never"), environment=side.environment))


def test_an_inventory_of_another_site_with_the_same_address_is_noticed_by_the_bundles_that_were_applied_there(
    side: Side,
) -> None:
    side.seed({"app:1": made("1")})
    side.destination = f"oci:{side.directory / 'far'}"

    def visit(site: str, output: str) -> Path:
        """Apply a bundle at a site, and take its inventory."""
        environment = replace(side.environment, state_directory=side.directory / site)
        shutil.rmtree(side.directory / "far", ignore_errors=True)
        asyncio.run(apply_bundle(side.directory / output, [side.destination], environment=environment))
        inventory, _ = asyncio.run(make_inventory(side.destination, environment=environment))
        save_inventory(inventory, str(side.directory / f"{site}.json"))
        return side.directory / f"{site}.json"

    def notices(have: Path, name: str) -> list[str]:
        told: list[Any] = []
        environment = replace(side.environment, observer=told.append)
        asyncio.run(plan_bundle(side.wanted(have, name=name), environment=environment))
        return [one.message for one in told if isinstance(one, Noticed)]

    side.create("for-east", name="east")
    side.create("for-west", name="west")
    east, west = visit("east", "for-east"), visit("west", "for-west")
    assert notices(east, "east") == notices(west, "west") == []
    (told,) = notices(west, "east")
    assert told.startswith("bundles of other senders were applied there, and none of the 1 of this one: is it of ano")
    assert notices(west, "new") == []  # its first bundle
    # A state directory that was restored from a copy has forgotten what was made since.
    later = json.loads(east.read_bytes())
    ((chain, last),) = later["applied"].items()
    for changed in ({"sequence": 2}, {"digest": f"sha256:{'0' * 64}"}):
        east.write_text(json.dumps({**later, "applied": {chain: {**last, **changed}}}))
        (told,) = notices(east, "east")
        assert told.startswith(
            f"the bundle {changed.get('sequence', 1)} of east that was applied there was not made here"
        )
    del later["applied"]  # by an earlier version
    east.write_text(json.dumps(later))
    assert notices(east, "east") == []


def test_a_bundle_for_another_site_of_the_same_address_and_name_is_noticed_where_it_is_applied(side: Side) -> None:
    side.seed({"app:1": made("1")})
    side.destination = f"oci:{side.directory / 'far'}"
    told: list[Any] = []

    def site(name: str, second: int) -> Environment:
        times = {"SOURCE_DATE_EPOCH": str(1_700_000_000 + second)}
        return Environment(state_directory=side.directory / name, variables=times, observer=told.append)

    def noticed(environment: Environment) -> list[str]:
        told.clear()
        asyncio.run(apply_bundle(side.directory / "usb", [side.destination], environment=environment))
        return [one.message for one in told if isinstance(one, Noticed)]

    for name, second in (("east", 1), ("west", 2)):
        inventory, _ = asyncio.run(make_inventory(side.destination, environment=site(name, second)))
        save_inventory(inventory, str(side.directory / f"{name}.json"))
    side.create("usb", side.directory / "east.json")
    (notice,) = noticed(site("west", 3))
    assert notice.startswith("it was made with the inventory of 2023-11-14T22:13:21Z, which was not taken here: is it")
    assert noticed(site("east", 3)) == []
    assert noticed(site("new", 3)) == []  # a machine that has taken none


def test_a_sender_believes_its_own_unsigned_bundles_and_no_others(side: Side) -> None:
    _, line = key_of(side.directory, "ops")
    (side.directory / "allowed").write_text(line)
    signers = SignerChoice(str(side.directory / "allowed"))
    side.seed({"app:1": made("1")})
    side.create("first")
    assert side.create("none", side.directory / "first", signers=signers).bundle is None
    shutil.rmtree(side.directory / "state")
    with pytest.raises(NotTrusted, match="first is not signed") as refused:
        side.create("none", side.directory / "first", signers=signers)
    assert "--allow-unsigned" in refused.value.remedy
