"""What travels with a bundle: the far side has the connected side's lock, policies, keys and first sightings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.parts.cosign import Key, legacy_by, make_key
from tests.parts.documents import valid
from tests.parts.images import Image, image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync, plain

PASSWORD = "hunter2"
FAR = "oci:far:m"


def one(name: str) -> Image:
    return image([layer({"name": name.encode()})])


class Sides:
    """A connected side with a signed image and one that has an exception, and a far side without its files."""

    def __init__(self, mirrorsync: Mirrorsync, directory: Path) -> None:
        self.mirrorsync = mirrorsync
        self.directory = directory
        (directory / "keys").mkdir()
        self.key: Key = make_key(directory / "keys", "ours")
        self.key.public.write_text(f"{self.key.public.read_text()}# {PASSWORD}\n")
        self.images: dict[str, Image] = {"app:old": one("old")}

    def sign(self, tag: str) -> Image:
        """Add an image with a signature."""
        made = one(tag)
        self.images |= {
            f"app:{tag}": made,
            f"app:{made.digest.replace(':', '-')}.sig": legacy_by(self.key, made.digest),
        }
        return made

    def create(self, output: str, *words: str, until: str, code: int) -> Path:
        write_layout(self.directory / "source", self.images)
        verify = {
            "cosign": {"key": "keys/ours.pub"},
            "except": [{"image": "*/source:app:old", "reason": "its publisher does not sign yet", "until": until}],
        }
        mirror = {"from": "oci:source:app", "tags": {"all": True}, "to": ["corp"], "referrers": True, "verify": verify}
        login = plain("unused.invalid", username="ops", password="${PASSWORD}")
        spec: dict[str, Any] = {"registries": login, "destinations": {"corp": "corp.invalid/m"}, "mirrors": [mirror]}
        self.mirrorsync.spec(spec, "shop.yaml")
        environment = {"PASSWORD": PASSWORD}
        self.mirrorsync("bundle", "create", *words, "--output", output, "shop.yaml", code=code, env=environment)
        return self.directory / output

    def trust(self, *words: str, code: int) -> dict[str, tuple[str, str]]:
        """Return what the signatures at the far side prove, by tag; the key and the source are gone."""
        document = self.mirrorsync("verify", "--trust", "--json", *words, code=code).json()
        assert words[-1] != FAR or document["policies"]
        return {
            found["ref"]: (found["trust"]["state"], found["trust"]["fact"])
            for found in valid(document, "verification")["images"]
            if found["trust"]
        }


@pytest.fixture
def sides(mirrorsync: Mirrorsync) -> Sides:
    return Sides(mirrorsync, mirrorsync.directory)


def test_policies_travel_and_the_far_side_proves_every_signature_until_an_exception_ends(sides: Sides) -> None:
    signed, run = sides.sign("1"), sides.mirrorsync
    first = sides.create("first", until="2999-01-31", code=0)
    files = sorted(first.iterdir())
    assert not any(PASSWORD.encode() in path.read_bytes() for path in files)
    assert (
        str(sides.directory / "keys").encode() not in next(path for path in files if path.suffix == ".tar").read_bytes()
    )
    run("bundle", "apply", "first", "--to", FAR, "--elsewhere", code=0)
    (sides.directory / "keys/ours.pub").rename(sides.directory / "keys/away.pub")
    found = sides.trust(FAR, code=0)
    assert found["1"] == ("proven", "cosign 2 signature, by ours.pub")
    assert found["old"][0] == "excepted"
    assert found["old"][1].endswith("excepted until 2999-01-31 (its publisher does not sign yet)")
    assert found.keys() == {"1", "old"}
    summary = run("verify", "--trust", FAR, code=0).out
    assert "signatures: 1 proven, 1 excepted (policy of bundle shop-000001, 20" in summary
    given = sides.trust("--key", "keys/away.pub", f"oci:far:m/app:{'old'}", code=3)  # an option wins
    assert given["old"][0] == "unproven"
    # The next bundle: the exception has ended, and a tag of the far side names what no bundle has brought.
    (sides.directory / "keys/away.pub").rename(sides.directory / "keys/ours.pub")
    sides.sign("2")
    sides.create("second", "--have", "sent", until="2020-01-31", code=3)
    run("bundle", "apply", "second", "--to", FAR, "--elsewhere", code=0)
    later = sides.trust(FAR, code=3)
    assert (later["1"][0], later["2"][0], later["old"][0]) == ("proven", "proven", "unproven")
    assert later["old"][1].endswith("; its exception (its publisher does not sign yet) ended on 2020-01-31")
    run("bundle", "apply", "first", "--to", FAR, "--elsewhere", code=5)
    run("bundle", "apply", "first", "--to", FAR, "--elsewhere", "--allow-older", code=0)
    assert sides.trust(FAR, code=3)["old"] == later["old"]  # an older bundle brings tags back, and no policies
    assert signed.digest in (sides.directory / "far/index.json").read_text()


def test_files_of_the_site_come_out_of_a_bundle_and_are_of_use(sides: Sides) -> None:
    signed, run = sides.sign("1"), sides.mirrorsync
    sides.create("first", until="2999-01-31", code=0)
    sides.sign("2")
    usb = sides.create("usb", "--part-size", "40KiB", until="2999-01-31", code=0)
    parts = sorted(usb.glob("*.tar"))
    run("bundle", "inspect", "--site", "site", "usb", code=0)
    lock = (sides.directory / "site/mirror.lock").read_text()
    assert f"oci:source:app:1: {signed.digest}\n" in lock
    run("lock", "shop.yaml", code=0, env={"PASSWORD": PASSWORD})
    whole = (sides.directory / "shop.lock").read_text().splitlines()
    assert [line for line in whole if ".sig:" not in line] == lock.splitlines()  # without tags of signatures
    seen = json.loads((sides.directory / "site/first-seen.json").read_text())
    assert {signed.digest, one("old").digest} <= {one["digest"] for one in valid(seen, "state")["seen"]}
    assert one("2").digest not in {one["digest"] for one in seen["seen"]}
    secret = {"PASSWORD": PASSWORD}
    done = run("state", "import", "site/first-seen.json", "--spec", "shop.yaml", code=0, env=secret)
    assert done.out.startswith("imported: 0 tags")
    assert json.loads((sides.directory / "site/generation.json").read_text()) == {
        "generation": None, "name": "shop", "sequence": 2,
    }  # fmt: skip
    run("bundle", "create", "--only-parts", "1", "--of", "usb", "-o", "again", "shop.yaml", code=0, env=secret)
    assert (sides.directory / "again" / parts[0].name).read_bytes() == parts[0].read_bytes()


def test_changed_policies_are_damage_and_are_not_taken_over(sides: Sides) -> None:
    sides.sign("1")
    usb = sides.create("usb", until="2999-01-31", code=0)
    part = next(usb.glob("*.tar"))
    part.write_bytes(part.read_bytes().replace(b"2999-01-31", b"3999-01-31"))
    for words in (("bundle", "verify", "usb"), ("bundle", "apply", "usb", "--to", FAR, "--elsewhere")):
        assert f"damaged: {part.name}: site/trust.json" in sides.mirrorsync(*words, code=4).err
    passing = sides.mirrorsync("bundle", "apply", "usb", "--to", FAR, "--elsewhere", "--verify-in-passing", code=0)
    assert "its policies are not taken over, and those of before stay: " in passing.err
    assert "no key or identity to verify signatures with" in sides.mirrorsync("verify", "--trust", FAR, code=2).err
