"""Signatures of several people, on bundles and on inventories: `bundle sign`, `inventory --sign`, `--have`."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.app.test_bundling import made
from tests.parts.bundles import pack
from tests.parts.images import write_layout
from tests.parts.mirrorsync import Mirrorsync

PEOPLE = ("alice", "bob")


@pytest.fixture
def site(mirrorsync: Mirrorsync) -> Mirrorsync:
    """A directory with keys of two people, a file that allows both, a spec, and a bundle of another person."""
    directory = mirrorsync.directory
    write_layout(directory / "source", {"app:1": made("1"), "app:2": made("2")})
    mirror = {"from": "oci:source:app", "tags": {"all": True}, "to": ["corp"]}
    mirrorsync.spec({"destinations": {"corp": "corp.invalid/m"}, "mirrors": [mirror]})
    pack({"app:1": made("1")}).write(directory / "usb")
    allowed = []
    for name in PEOPLE:
        keygen(directory, "-q", "-t", "ed25519", "-N", "", "-f", name)
        allowed.append(f"{name}@corp.example {(directory / f'{name}.pub').read_text()}")
    (directory / "allowed").write_text("".join(allowed))
    return mirrorsync


def keygen(directory: Path, *words: str, data: bytes = b"", code: int = 0) -> None:
    """Run ssh-keygen without code of the product."""
    done = subprocess.run(["ssh-keygen", *words], cwd=directory, input=data, capture_output=True, check=False)
    assert done.returncode == code, done.stderr


def check(directory: Path, person: str, namespace: str, signature: str, data: bytes, code: int = 0) -> None:
    """Verify a signature by hand."""
    words = ("-Y", "verify", "-f", "allowed", "-I", f"{person}@corp.example", "-n", namespace, "-s", signature)
    keygen(directory, *words, data=data, code=code)


def test_two_people_sign_one_after_the_other_and_a_third_time_adds_nothing(site: Mirrorsync) -> None:
    usb = site.directory / "usb"
    document, part = (usb / "shop-000001.json").read_bytes(), (usb / "shop-000001.001of001.tar").read_bytes()
    two = ("--signers", "allowed", "--threshold", "2")
    first = site("bundle", "sign", "usb", "--key", "alice", code=0)
    assert first.out == "signed: shop-000001.json.sig\n"
    assert "images: 1, 1 new or moved" in first.err
    assert "signed by 1 of 2 people" in site("bundle", "apply", "usb", *two, "--to", "oci:far", code=1).err
    assert not (site.directory / "far").exists()
    second = site("bundle", "sign", "usb/shop-000001.001of001.tar", "--key", "bob", "--key", "alice", code=0)
    assert second.out == "signed: shop-000001.json.2.sig\n"
    assert "has signed it already" in second.err
    for person, name in zip(PEOPLE, ("sig", "2.sig"), strict=True):
        check(site.directory, person, "mirrorsync-bundle", f"usb/shop-000001.json.{name}", document)
    assert (usb / "shop-000001.001of001.tar").read_bytes() == part
    assert site("bundle", "sign", "usb", "--key", "bob", "--json", code=0).json()["signatures"] == 2
    site("bundle", "apply", "usb", *two, "--to", "oci:far", code=0)
    site("bundle", "verify", "usb", *two, code=0)


def test_a_document_that_is_changed_after_it_was_signed_is_refused_before_anything_is_imported(
    site: Mirrorsync,
) -> None:
    site("bundle", "sign", "usb", "--key", "alice", code=0)
    other = pack({"app:1": made("2")}).write(site.directory / "other")
    shutil.copy(site.directory / "usb/shop-000001.json.sig", other)
    for more in ((), ("--allow-unsigned",)):
        done = site("bundle", "apply", "other", "--signers", "allowed", *more, "--to", "oci:far", code=1)
        assert "it is not a signature of these bytes" in done.err
    assert not (site.directory / "far").exists()
    # Where nothing has to be signed, it is said all the same; so is what --allow-unsigned has accepted.
    assert "signature 1 does not count: it is not a signature of" in site("bundle", "verify", "other", code=0).err
    two = ("--signers", "allowed", "--threshold", "2", "--allow-unsigned")
    assert "1 of 2 people; accepted (--allow-unsigned)" in site("bundle", "verify", "usb", *two, code=0).err
    assert "a part from a pipe cannot be signed" in site("bundle", "sign", "-", "--key", "alice", code=2).err
    assert "no key in" in site("bundle", "sign", "usb", "--key", "carol", code=1).err


def test_two_keys_sign_at_creation_and_parts_that_are_written_again_keep_their_signatures(site: Mirrorsync) -> None:
    (site.directory / "alice").chmod(0o644)
    for key, told in (("alice", "other users can read"), ("carol", "no key in")):
        assert told in site("bundle", "create", "--sign", key, "-o", "out", code=1).err
    (site.directory / "alice").chmod(0o600)
    # No number is used up by that.
    site("bundle", "create", "--sign", "alice", "--sign", "bob", "--parity", "10%", "-o", "out", code=0)
    out = site.directory / "out"
    part = out / "mirror-000001.001of001.tar"
    beside = [(out / f"mirror-000001.json.{name}").read_bytes() for name in ("sig", "2.sig")]
    with tarfile.open(part) as archive:
        inside = [archive.extractfile(f"mirrorsync-bundle.json.{name}") for name in ("sig", "2.sig")]
        assert [file.read() for file in inside if file is not None] == beside
    site("bundle", "verify", str(part), "--signers", "allowed", "--threshold", "2", code=0)
    good = part.read_bytes()
    for name in (part.name, "mirror-000001.json.2.sig"):
        (out / name).write_bytes(b"damaged")
    site("bundle", "create", "--only-parts", "1", "--of", "out/mirror-000001.json", "-o", "again", code=1)
    (out / "mirror-000001.json.2.sig").write_bytes(beside[1])
    part.unlink()
    site("bundle", "create", "--only-parts", "1", "--of", "out/mirror-000001.json", "-o", "again", code=0)
    assert (site.directory / "again" / part.name).read_bytes() == good


def test_an_inventory_that_too_few_have_signed_is_not_read(site: Mirrorsync) -> None:
    name = "far.json.gz"
    create = ("bundle", "create", "-o", "out", "--have", name)
    site("inventory", "oci:source", "-o", name, code=0)
    refused = site(*create, "--signers", "allowed", code=1)
    assert f"{name} is not signed, and" in refused.err
    assert not (site.directory / "out").exists()
    plan = site("plan", "--to", "bundle", "--have", name, env={"MIRRORSYNC_SIGNERS": "allowed"}, code=1)
    assert "`bundle create` takes --allow-unsigned" in plan.err
    site(*create, "--signers", "allowed", "--allow-unsigned", code=0)
    site("inventory", "oci:source", "--sign", "alice", "--sign", "bob", "-o", name, code=0)
    site("inventory", "oci:source", "--sign", "alice", "-o", name, code=0)
    assert sorted(path.name for path in site.directory.glob(f"{name}*.sig")) == [f"{name}.sig"]
    plain = subprocess.run(["zcat", "-f", name], cwd=site.directory, capture_output=True, check=True).stdout
    check(site.directory, "alice", "mirrorsync-inventory", f"{name}.sig", plain)
    check(site.directory, "alice", "mirrorsync-bundle", f"{name}.sig", plain, code=255)
    assert "signed by alice@corp.example" in site(*create, "--signers", "allowed", code=0).err
    assert "signed by 1 of 2 people" in site(*create, "--signers", "allowed", "--threshold", "2", code=1).err
    (site.directory / name).write_bytes(plain.replace(b'"app"', b'"spp"'))
    assert "it is not a signature of these bytes" in site(*create, "--signers", "allowed", code=1).err


def test_the_spec_says_who_signs_what_the_far_side_has(site: Mirrorsync) -> None:
    spec = (site.directory / "mirror.yaml").read_text()
    site("inventory", "oci:source", "--sign", "alice", "-o", "far.json", code=0)
    (site.directory / "mirror.yaml").write_text(
        spec.replace('"mirrors"', '"signers": {"allowed": "allowed"}, "mirrors"')
    )
    site("bundle", "create", "-o", "out", "--have", "far.json", code=0)
    (site.directory / "far.json.sig").unlink()
    assert "is not signed" in site("bundle", "create", "-o", "out", "--have", "far.json", code=1).err
    assert "needs a file next to it" in site("inventory", "oci:source", "--sign", "alice", code=2).err
    assert "no key in" in site("inventory", "oci:source", "--sign", "carol", "-o", "new.json", code=1).err
    assert not (site.directory / "new.json").exists()


def test_a_bundle_that_is_a_source_has_to_be_signed_as_one_that_is_applied(site: Mirrorsync) -> None:
    inside = {"destinations": {"far": "oci:far"}, "signers": {"allowed": "allowed"}}
    mirrors = [{"from": f"bundle:{site.directory}/usb:app", "tags": {"all": True}, "to": ["far"]}]
    site.spec({**inside, "mirrors": mirrors}, "inside.yaml")
    policy = {"MIRRORSYNC_SIGNERS": "allowed"}
    for words, env in (
        (("apply", "inside.yaml"), {}),
        (("copy", "bundle:usb:app:1", "oci:far:app:1"), policy),
        (("list-tags", "bundle:usb:app"), policy),
        (("serve", "bundle:usb", "--listen", "127.0.0.1:0"), policy),
    ):
        refused = site(*words, env=env, code=1).err
        assert refused.count("shop-000001 is not signed, and has to be by 1 person of ") == 1
        assert "have it signed, or import it with `mirrorsync bundle apply --allow-unsigned`" in refused
    assert not (site.directory / "far").exists()
    site("bundle", "sign", "usb", "--key", "alice", code=0)
    assert "signed by alice@corp.example" in site("apply", "inside.yaml", code=0).err
    site("copy", "bundle:usb:app:1", "oci:far:other:1", env=policy, code=0)
