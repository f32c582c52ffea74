"""`verify: {cosign: {identity: ...}}`: keyless signatures in a registry, and what a spec needs for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.cosign import legacy, payload, referrer
from tests.parts.images import Image, image, layer, multi_platform
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.sigstore import ISSUER, Sigstore, raw
from tests.parts.wire import Registry

PATTERN = "https://github.com/org/app/.github/workflows/release.yml@refs/tags/*"


@pytest.fixture(scope="module")
def sigstore() -> Sigstore:
    """Return a Sigstore of our own."""
    return Sigstore()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Serve]:
    """Return a registry with the referrers API."""
    with Serve(tmp_path / "source") as server:
        yield server


def spec(mirrorsync: Mirrorsync, source: str, root: bytes | None, **cosign: Any) -> None:
    if root is not None:
        (mirrorsync.directory / "root.json").write_bytes(root)
    keyless = {"identity": PATTERN, "issuer": ISSUER, "trusted_root": "root.json", **cosign}
    mirrorsync.spec(
        {
            "registries": plain(source),
            "destinations": {"disk": "oci:disk"},
            "mirrors": [{"from": f"{source}/app", "tags": {"all": True}, "verify": {"cosign": keyless}}],
        }
    )


def push(served: Serve, tag: str, made: Image, *bundles: dict[str, Any]) -> Image:
    Registry(served.host).push("app", made, tag)
    for bundle in bundles:
        Registry(served.host).push("app", referrer(made, raw(bundle)))
    return made


def test_only_images_signed_by_the_identity_are_mirrored(
    mirrorsync: Mirrorsync, served: Serve, sigstore: Sigstore
) -> None:
    good, other, stranger = multi_platform("m"), image([layer({"o": b"o"})]), image([layer({"s": b"s"})])
    push(served, "good", good, sigstore.sign(good.digest))
    push(served, "other", other, sigstore.sign(other.digest, sigstore.certify("https://github.com/evil/app")))
    push(served, "stranger", stranger, Sigstore().sign(stranger.digest))
    old = push(served, "old", image([layer({"c": b"cosign 2"})]))
    text = payload(old.digest)
    Registry(served.host).push("app", legacy((text, sigstore.sign_2(text))), f"{old.digest.replace(':', '-')}.sig")
    spec(mirrorsync, served.host, sigstore.trusted_root())
    mirrorsync("validate", code=0)
    done = mirrorsync("apply", code=3)
    mirrorsync("inspect", "oci:disk:app:old", code=0)
    assert f"its certificate is for https://github.com/evil/app, and not for {PATTERN}" in done.err
    assert "app:stranger: verify: cosign 3 bundle: it is not proven by the trusted root" in done.err
    mirrorsync("inspect", "oci:disk:app:good", code=0)
    mirrorsync("inspect", "oci:disk:app:other", code=1)
    spec(mirrorsync, served.host, None, identity=[PATTERN, "https://github.com/evil/*"])
    mirrorsync("apply", code=3)
    mirrorsync("inspect", "oci:disk:app:other", code=0)


def test_a_trusted_root_that_is_of_no_use_is_reported_by_validate_and_refuses_every_image(
    mirrorsync: Mirrorsync, served: Serve, sigstore: Sigstore
) -> None:
    push(served, "1", made := multi_platform("m"), sigstore.sign(made.digest))
    spec(mirrorsync, served.host, None)
    done = mirrorsync("validate", code=2)
    assert f"the trusted root {mirrorsync.directory}/root.json does not exist" in done.err
    assert "/mirrors/0/verify/cosign/trusted_root" in done.err
    spec(mirrorsync, served.host, b"{}")
    assert "is not a trusted root" in mirrorsync("validate", code=2).err
    assert "is not a trusted root" in mirrorsync("apply", code=1).err


def test_a_spec_that_needs_the_package_says_what_to_install(mirrorsync: Mirrorsync, sigstore: Sigstore) -> None:
    spec(mirrorsync, "s.example", sigstore.trusted_root())
    code = "import sys; sys.modules['sigstore'] = None; from mirrorsync.cli.main import main; main()"
    for verb in ("validate", "apply"):
        command = [sys.executable, "-c", code, verb]
        done = subprocess.run(command, cwd=mirrorsync.directory, env=os.environ, capture_output=True, text=True)
        assert done.returncode == 2
        assert "/mirrors/0/verify/cosign: keyless signatures need the Python package sigstore" in done.stderr
        assert "pip install 'mirrorsync[sigstore]'" in done.stderr


def test_a_keyless_policy_travels_in_a_bundle_and_the_far_side_proves_its_images_without_the_root_file(
    mirrorsync: Mirrorsync, tmp_path: Path, sigstore: Sigstore
) -> None:
    good, stranger = multi_platform("m"), image([layer({"s": b"s"})])
    with Serve(tmp_path / "source") as served:  # which is gone when the far side looks
        push(served, "good", good, sigstore.sign(good.digest))
        push(served, "stranger", stranger, Sigstore().sign(stranger.digest))
        (mirrorsync.directory / "root.json").write_bytes(sigstore.trusted_root())
        keyless = {"identity": PATTERN, "issuer": ISSUER, "trusted_root": "root.json"}
        mirror = {
            "from": f"{served.host}/app", "tags": {"all": True}, "to": ["corp"], "referrers": True,
            "verify": {"cosign": keyless, "policy": "dry_run"},
        }  # fmt: skip
        mirrorsync.spec(
            {"registries": plain(served.host), "destinations": {"corp": "corp.invalid/m"}, "mirrors": [mirror]}
        )
        mirrorsync("bundle", "create", "--output", "usb", code=0)
    (mirrorsync.directory / "root.json").unlink()
    mirrorsync("bundle", "apply", "usb", "--to", "oci:far:m", "--elsewhere", code=0)
    done = mirrorsync("verify", "--trust", "--json", "oci:far:m", code=None).json()
    found = {one["ref"]: (one["trust"]["state"], one["trust"]["fact"]) for one in done["images"] if one["trust"]}
    assert found["good"][0] == "proven"
    assert "https://github.com/org/app/.github/workflows/release.yml@refs/tags/" in found["good"][1]
    assert found["stranger"][0] == "excepted"  # as dry_run says
    assert "not proven by the trusted root" in found["stranger"][1]
