"""What policies say: the sentence of each decision and the remedy of each refusal, as people read them in a plan."""

from __future__ import annotations

from typing import Any

import pytest

from mirrorsync.errors import GrammarError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.plan.policies import POLICIES, Decision, Facts, Identities, KeyFiles, SignedBy, Verify, decide, in_force
from mirrorsync.trust.evidence import Finding

OLD, NEW = (Descriptor(media_types.OCI_MANIFEST, Digest.of(name), 1) for name in (b"old", b"new"))
TAG = Tag("1.0")
DAY = 86400.0
NOW = 1000.5 * DAY  # noon of 1972-09-27
NAMES = ("src.example/app:1.0", "src.example/app")
LONG = "r" * 130

MOVED = f"the source has moved this tag to {NEW.digest}"
PUBLISHED = "find out why a published tag was changed; to take the new image, delete the tag at the destination"
ON_CHANGE = "set on_change: update to take the new image, or keep to stay without an error"
SIGN = "have the image signed with the key, or add an exception with a reason and a date (verify: except)"


IMMUTABLE = f"immutable 1.*: {MOVED}"
NOT_ASKED = "verify (dry run, not refused): its signatures were not looked for"
DRY: dict[str, Any] = {"cosign": {"key": "site.pub"}, "policy": "dry_run"}
OVER = [{"image": "*", "reason": "not yet", "until": "1972-09-26"}]
BACK = {"older": "moves back to an image that this mirror had"}


def decided(key: str, value: Any, **facts: Any) -> Decision | None:
    """Return the decision of a policy as it is written in a spec, by default on a tag that has moved."""
    return POLICIES[key].parse(value).decide(Facts(**{"tag": TAG, "before": OLD, "found": NEW, "now": NOW, **facts}))


@pytest.mark.parametrize(
    ("key", "value", "facts", "decision"),
    [
        ("immutable", ["1.*"], {}, Decision("refuse", f"immutable 1.*: {MOVED}", PUBLISHED)),
        ("immutable", ["v*", "1.?"], {"found": None}, Decision("keep", "immutable 1.?: the tag is present")),
        ("immutable", ["1.0", "*"], {"found": OLD}, Decision("keep", "immutable 1.0: the tag is present")),
        ("on_change", "update", {}, Decision("update", f"on_change update: {MOVED}")),
        ("on_change", "keep", {}, Decision("keep", f"on_change keep: {MOVED}")),
        ("on_change", "fail", {}, Decision("refuse", f"on_change fail: {MOVED}", ON_CHANGE)),
        ("on_change", {"older": "fail"}, BACK, Decision("refuse", f"on_change older fail: {MOVED}", ON_CHANGE)),
        ("on_change", {"older": "keep"}, BACK, Decision("keep", f"on_change older keep: {MOVED}")),
        ("on_change", {"older": "fail"}, {}, None),
        ("on_change", "keep", BACK, Decision("keep", f"on_change keep: {MOVED}")),
        (
            "min_age",
            "12h",
            {"first_seen": NOW - 3600},
            Decision(
                "delay",
                "min_age 12h: first seen 1972-09-27 11:00 UTC, waits until 1972-09-27 23:00 UTC",
                until=NOW + 11 * 3600,
            ),
        ),
    ],
)
def test_what_a_policy_says(key: str, value: Any, facts: dict[str, Any], decision: Decision | None) -> None:
    assert decided(key, value, **facts) == decision


@pytest.mark.parametrize(
    ("policies", "decision"),
    [
        ([("on_change", "fail")], Decision("refuse", f"on_change fail: {MOVED}", ON_CHANGE, policy="on_change")),
        (
            [("immutable", ["v*"]), ("on_change", "keep")],
            Decision("keep", f"on_change keep: {MOVED}", policy="on_change"),
        ),
        ([("immutable", ["1.*"]), ("on_change", "keep")], Decision("refuse", IMMUTABLE, PUBLISHED, policy="immutable")),
        ([("verify", DRY)], Decision("report", NOT_ASKED, policy="verify")),
        ([("verify", DRY), ("on_change", "keep")], Decision("keep", f"on_change keep: {MOVED}", policy="on_change")),
        ([("verify", DRY), ("verify", {**DRY, "except": OVER})], Decision("report", NOT_ASKED, policy="verify")),
        ([("immutable", ["v*"])], None),
    ],
)
def test_the_decision_that_counts_names_its_policy(policies: list[tuple[str, Any]], decision: Decision | None) -> None:
    facts = Facts(TAG, OLD, NEW, now=NOW, names=NAMES)
    assert decide([POLICIES[key].parse(value) for key, value in policies], facts) == decision


def excepted(reason: str, until: str) -> dict[str, str]:
    return {"image": "src.example/app:*", "reason": reason, "until": until}


@pytest.mark.parametrize(
    ("keys", "signature", "decision"),
    [
        ({}, None, Decision("refuse", "verify: its signatures were not looked for", SIGN)),
        ({}, Finding(False, "no signature found"), Decision("refuse", "verify: no signature found", SIGN)),
        (
            {"policy": "dry_run"},
            Finding(False, "no signature found"),
            Decision("report", "verify (dry run, not refused): no signature found"),
        ),
        (
            {"except": [excepted("the vendor signs\nin May", "1972-09-27")]},
            Finding(False, "no signature found"),
            Decision("report", "verify: no signature found; excepted until 1972-09-27 (the vendor signs\\nin May)"),
        ),
        (
            {"except": [excepted(LONG, "1972-09-27")]},
            Finding(False, "no"),
            Decision("report", f"verify: no; excepted until 1972-09-27 ({'r' * 120}...)"),
        ),
        (
            {"except": [excepted("not yet", "1972-09-26")]},
            Finding(False, "no"),
            Decision("refuse", "verify: no; its exception (not yet) ended on 1972-09-26", SIGN),
        ),
        (
            {"except": [excepted(LONG, "1972-09-26")], "policy": "dry_run"},
            Finding(False, "no"),
            Decision(
                "report", f"verify (dry run, not refused): no; its exception ({'r' * 120}...) ended on 1972-09-26"
            ),
        ),
    ],
)
def test_what_verify_says(keys: dict[str, Any], signature: Finding | None, decision: Decision) -> None:
    value = {"cosign": {"key": "site.pub"}, **keys}
    assert decided("verify", value, names=NAMES, signature=signature) == decision


@pytest.mark.parametrize(
    ("until", "shown"),
    [("2026-02-30", "'2026-02-30'"), ("soon", "'soon'"), ("9" * 50, f"'{'9' * 40}...'")],
)
def test_a_day_that_does_not_exist_is_quoted_with_the_form_that_is_read(until: str, shown: str) -> None:
    with pytest.raises(GrammarError) as caught:
        decided("verify", {"cosign": {"key": "site.pub"}, "except": [excepted("not yet", until)]})
    assert caught.value.message == f"{shown} is not a date"
    assert caught.value.remedy == "write the last day as YYYY-MM-DD"


@pytest.mark.parametrize(
    ("exceptions", "reason"),
    [
        ([], None),
        ([excepted("over", "1972-09-26")], None),
        ([{**excepted("of another", "1972-09-27"), "image": "src.example/other:*"}], None),
        ([excepted("over", "1972-09-26"), excepted("first", "1972-09-27"), excepted("second", "1972-09-28")], "first"),
    ],
)
def test_the_exception_of_an_image_is_the_first_that_names_it_and_is_not_over(
    exceptions: list[dict[str, str]], reason: str | None
) -> None:
    policy = Verify.parse({"cosign": {"key": "site.pub"}, "except": exceptions})
    found = in_force(policy.exemptions_of(NAMES), NOW)
    assert (found.reason if found else None) == reason


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(("now", "over"), [(1001 * DAY - 1, False), (1001 * DAY, True)])
def test_the_last_day_of_an_exception_ends_at_midnight_utc_wherever_the_machine_is(now: float, over: bool) -> None:
    policy = Verify.parse({"cosign": {"key": "site.pub"}, "except": [excepted("not yet", "1972-09-27")]})
    assert policy.exemptions[0].is_over(now) is over


@pytest.mark.parametrize(
    ("cosign", "signed_by"),
    [
        ({"key": "site.pub"}, KeyFiles(("/etc/mirror/site.pub",))),
        ({"key": ["../a.pub", "/keys/b.pub"]}, KeyFiles(("/etc/a.pub", "/keys/b.pub"))),
        (
            {"identity": "*@corp.example", "issuer": "https://login.example", "trusted_root": "root.json"},
            Identities(("*@corp.example",), "https://login.example", "/etc/mirror/root.json"),
        ),
        (
            {"identity": ["a@b", "ci-?@b"], "issuer": "https://login.example", "trusted_root": "/root.json"},
            Identities(("a@b", "ci-?@b"), "https://login.example", "/root.json"),
        ),
        (
            {"identity": "X*", "issuer": "https://login.example", "trusted_root": "/root.json"},
            Identities(("X*",), "https://login.example", "/root.json"),
        ),
    ],
)
def test_the_files_of_verify_are_relative_to_the_directory_of_the_spec(
    cosign: dict[str, Any], signed_by: SignedBy
) -> None:
    assert Verify.parse({"cosign": cosign}).under("/etc/mirror").signed_by == signed_by


KEYLESS: dict[str, Any] = {"identity": "a@b", "issuer": "https://login.example", "trusted_root": "root.json"}
ALL_THREE = ("an identity, its issuer and a trusted root belong together", "write all three of them")
SEPARATE = "keep one of them; images with the other are a mirror of their own"
ENDS = "write what all identities begin or end with"


@pytest.mark.parametrize(
    ("cosign", "message", "remedy"),
    [
        ({}, *ALL_THREE),
        *(({key: value for key, value in KEYLESS.items() if key != left_out}, *ALL_THREE) for left_out in KEYLESS),
        ({**KEYLESS, "identity": []}, *ALL_THREE),
        (
            {"key": "site.pub", "issuer": "https://login.example"},
            "key: is for signatures with a key, and issuer: for keyless ones",
            SEPARATE,
        ),
        (
            {"key": "site.pub", **KEYLESS},
            "key: is for signatures with a key, and identity, issuer, trusted_root: for keyless ones",
            SEPARATE,
        ),
        (
            {**KEYLESS, "identity": ["a@b", "*"]},
            "the identity '*' is everyone who has a token of the issuer",
            ENDS,
        ),
        (
            {**KEYLESS, "identity": "*?" * 30},
            f"the identity '{'*?' * 20}...' is everyone who has a token of the issuer",
            ENDS,
        ),
    ],
)
def test_a_signer_that_is_not_one_is_rejected(cosign: dict[str, Any], message: str, remedy: str) -> None:
    with pytest.raises(GrammarError) as caught:
        Verify.parse({"cosign": cosign})
    assert (caught.value.message, caught.value.remedy) == (message, remedy)


def test_the_remedy_names_the_signer_that_the_mirror_asks_for() -> None:
    decision = decided("verify", {"cosign": KEYLESS}, signature=Finding(False, "no"))
    assert decision == Decision("refuse", "verify: no", SIGN.replace("with the key", "by an accepted identity"))


def test_a_policy_under_another_directory_is_otherwise_the_same() -> None:
    value = {"cosign": {"key": "site.pub"}, "policy": "dry_run", "except": [excepted("not yet", "1972-09-27")]}
    policy = Verify.parse(value).under("/etc")
    assert (policy.dry_run, len(policy.exemptions)) == (True, 1)
