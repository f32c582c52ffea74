"""The policies that came with a bundle: which of them is for an image, and what is refused as one. Only values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirrorsync.bundle.encoding import canonical
from mirrorsync.errors import Malformed
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.sync.bundle.site import read_trust
from mirrorsync.sync.verify.model import Subject
from mirrorsync.sync.verify.travelled import BundlePolicies, Travelled

ROOT, OTHER = Digest.of(b"root"), Digest.of(b"other")


def policy(key: str, *images: str, excepted: tuple[str, ...] = ()) -> dict[str, Any]:
    exception = {"image": "*", "images": list(excepted), "reason": "not yet", "until": "2999-01-31"}
    signed_by = {"keys": [{"name": key, "pem": "a key\n"}]}
    return {
        "dry_run": False, "except": [exception], "images": list(images), "platforms": [], "signed_by": signed_by
    }  # fmt: skip


def written(*policies: dict[str, Any]) -> bytes:
    return canonical({"format": "mirrorsync.trust", "version": 1, "policies": list(policies)})


def brought(number: int, images: tuple[str, ...], *policies: dict[str, Any], prefix: str = "m") -> BundlePolicies:
    read = read_trust(written(*policies), "site/trust.json")
    at = Location("corp.example", prefix)
    return BundlePolicies(f"shop-{number}", "2026-11-26T03:17:00Z", at, dict.fromkeys(images, ROOT), read)


A = policy("a.pub", "app:1", "app:2", excepted=("app:2",))
B = policy("b.pub", f"db@{ROOT}")
NEW = brought(2, ("app:1", "app:2", "free:1", f"db@{ROOT}"), A, B)
OLD = brought(1, ("app:1", "gone:1"), policy("old.pub", "app:1", "gone:1"))


@pytest.mark.parametrize(
    ("repository", "ref", "root", "key", "exceptions"),
    [
        ("m/app", Tag("1"), ROOT, "a.pub", 0),  # and not the key of an older bundle
        ("m/app", Tag("2"), ROOT, "a.pub", 1),
        ("m/app", Tag("2"), OTHER, "a.pub", 0),  # the exception is not for what was set since
        ("m/app", Tag("0"), ROOT, "a.pub", 0),  # an older tag, by its repository
        ("m/db", ROOT, ROOT, "b.pub", 0),
        ("m/free", Tag("1"), ROOT, None, 0),  # its mirror has no policy
        ("m/gone", Tag("1"), ROOT, "old.pub", 0),  # of another sender
        ("m/unknown", Tag("1"), ROOT, None, 0),
        ("mm/app", Tag("1"), ROOT, None, 0),  # not below the destination
        ("app", Tag("1"), ROOT, None, 0),
    ],
)
def test_the_policy_of_an_image_is_that_of_the_newest_bundle_that_names_it(
    repository: str, ref: Ref, root: Digest, key: str | None, exceptions: int
) -> None:
    asked = Travelled([NEW, OLD]).asked(Subject(Location("corp.example", repository), ref), root)
    signed_by = asked.policy.signed_by if asked else None
    assert getattr(signed_by, "files", None) == ((key,) if key else None)
    assert len(asked.exemptions if asked else ()) == exceptions
    elsewhere = Subject(Location("other.example", repository), ref)
    assert Travelled([NEW, OLD]).asked(elsewhere, root) is None


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"dry_run": 1}, "/policies/0/dry_run"),
        ({"signed_by": {"keys": []}}, "/policies/0/signed_by/keys"),
        ({"signed_by": {"keys": [{"name": "a.pub"}]}}, "/policies/0/signed_by/keys/0"),
        ({"signed_by": {}}, "/policies/0/signed_by"),
        (
            {"signed_by": {"identities": ["*"], "issuer": "i", "trusted_root": {"name": "r", "text": "{}"}}},
            "identities",
        ),
        ({"except": [{"image": "*", "images": [], "reason": "", "until": "2999-02-30"}]}, "/policies/0/except/0/until"),
        ({"images": "app:1"}, "/policies/0/images"),
        ({"more": 1}, "/policies/0"),
    ],
)
def test_policies_that_are_not_understood_are_refused_with_their_place(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_trust(written({**A, **changes}), "site/trust.json")
    assert pointer in caught.value.message


def test_policies_that_would_take_gigabytes_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(Malformed, match="more than is read"):
        read_trust(b"[" + b"[]," * 2_500_000 + b"[]]", "site/trust.json")


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b"[]", json.dumps({"format": "mirrorsync.trust"}).encode()])
def test_what_is_not_a_file_of_policies_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_trust(data, "site/trust.json")
