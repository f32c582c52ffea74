"""Policies: the decision of each on given facts, and the plan for a decision."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any

import pytest

from mirrorsync.errors import GrammarError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.oci.referrer_types import ReferrerType
from mirrorsync.plan import policies
from mirrorsync.plan.diff import diff
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import Image, Origin, Plan
from mirrorsync.plan.policies import (
    POLICIES,
    Decision,
    Facts,
    Identities,
    KeyFiles,
    Policy,
    Referrers,
    Verdict,
    Verify,
    decide,
    decide_without_source,
)
from mirrorsync.plan.steps import DeleteTag
from mirrorsync.schema_files import load_schema
from mirrorsync.trust.evidence import Finding
from tests.plan.reader import STAMP

OLD, NEW = (
    Descriptor(media_types.OCI_MANIFEST, Digest.of(name.encode()), len(name)) for name in ("old", "newer image")
)
TARGET = Location("harbor.example", "app")
IMMUTABLE = POLICIES["immutable"].parse(["v*", "release-?"])


def on_change(word: str) -> Policy:
    return POLICIES["on_change"].parse(word)


def test_every_policy_has_a_module_an_entry_and_a_branch_of_the_schema() -> None:
    modules = {module.name for module in pkgutil.iter_modules(policies.__path__)} - {"base"}
    assert modules == set(POLICIES)
    schema = load_schema("mirror")
    plain = {"from", "tags", "tag", "to", "name", "platforms", "foreign_layers", "min_tags", "allow_empty"}
    plain |= {"images_file", "exclude_repositories", "on_vanish", "backup", "keep_backups", "max_staleness"}
    assert set(schema["$defs"]["mirror"]["properties"]) - plain == set(POLICIES)
    assert set(schema["properties"]["defaults"]["properties"]) - plain == set(POLICIES)
    assert set(POLICIES) <= set(schema["$defs"])


@pytest.mark.parametrize("key", POLICIES)
def test_the_first_line_of_a_policy_module_shows_its_key(key: str) -> None:
    module = inspect.getmodule(POLICIES[key])
    assert module is not None
    assert str(module.__doc__).startswith(f"`{key}: ")


@pytest.mark.parametrize(
    ("tag", "before", "found", "verdict"),
    [
        ("v1.2", None, None, None),
        ("v1.2", None, NEW, None),
        ("v1.2", OLD, None, "keep"),
        ("v1.2", OLD, OLD, "keep"),
        ("v1.2", OLD, NEW, "refuse"),
        ("release-1", OLD, None, "keep"),
        ("release-10", OLD, None, None),
        ("latest", OLD, NEW, None),
        (None, OLD, None, None),
    ],
)
def test_an_immutable_tag_is_copied_only_once(
    tag: str | None, before: Descriptor | None, found: Descriptor | None, verdict: Verdict | None
) -> None:
    decision = IMMUTABLE.decide(Facts(Tag(tag) if tag else None, before, found))
    assert (decision.verdict if decision else None) == verdict


@pytest.mark.parametrize(("word", "verdict"), [("update", "update"), ("keep", "keep"), ("fail", "refuse")])
def test_on_change_decides_on_tags_that_moved(word: str, verdict: Verdict) -> None:
    decision = on_change(word).decide(Facts(Tag("latest"), OLD, NEW))
    assert decision is not None
    assert (decision.verdict, str(NEW.digest) in decision.reason) == (verdict, True)


@pytest.mark.parametrize(
    "facts",
    [
        Facts(Tag("latest"), OLD, OLD),
        Facts(Tag("latest"), None, NEW),
        Facts(Tag("latest"), OLD, None),
        Facts(None, OLD, NEW),
    ],
)
@pytest.mark.parametrize("word", ["update", "keep", "fail"])
def test_on_change_does_not_decide_on_other_tags(word: str, facts: Facts) -> None:
    assert on_change(word).decide(facts) is None


@pytest.mark.parametrize(
    ("key", "value", "only_changes"),
    [
        ("immutable", ["v*"], False),
        ("verify", {"cosign": {"key": "k.pub"}}, True),
        (
            "verify",
            {
                "cosign": {"key": "k.pub"},
                "except": [{"image": "*", "reason": "old", "until": "1970-01-01"}],
            },
            False,
        ),
        ("referrers", {"require": ["sbom"]}, True),
        ("min_age", "3d", True),
        ("on_change", "fail", True),
        ("on_change", {"older": "fail"}, True),
    ],
)
def test_a_policy_that_is_not_asked_about_unchanged_images_would_not_decide_on_them(
    key: str, value: Any, only_changes: bool
) -> None:
    policy = POLICIES[key].parse(value)
    assert policy.only_changes == only_changes
    facts = Facts(Tag("v1"), OLD, OLD, first_seen=NOW, now=NOW, names=("src/app:v1",), older="moves back")
    assert (policy.decide(facts) is None) == only_changes


@pytest.mark.parametrize(
    ("word", "older", "verdict"),
    [("fail", "moves back", "refuse"), ("keep", "moves back", "keep"), ("fail", "", None), ("keep", "", None)],
)
def test_on_change_for_older_images_decides_only_on_tags_that_move_back(
    word: str, older: str, verdict: Verdict | None
) -> None:
    decision = POLICIES["on_change"].parse({"older": word}).decide(Facts(Tag("latest"), OLD, NEW, older=older))
    assert (decision.verdict if decision else None) == verdict
    if decision is not None:
        assert decision.reason.startswith(f"on_change older {word}: ")


DAY = 86400.0
NOW = 1000 * DAY


@pytest.mark.parametrize(
    ("before", "found", "pinned", "days", "verdict"),
    [
        (None, NEW, False, 0, "delay"),
        (None, NEW, False, 2.99, "delay"),
        (None, NEW, False, 3, None),
        (OLD, NEW, False, 1, "delay"),
        (OLD, NEW, False, 4, None),
        (NEW, NEW, False, 0, None),
        (None, NEW, True, 0, None),
        (OLD, None, False, 0, None),
    ],
)
def test_min_age_delays_what_is_new_and_was_first_seen_too_recently(
    before: Descriptor | None, found: Descriptor | None, pinned: bool, days: float, verdict: Verdict | None
) -> None:
    facts = Facts(Tag("1"), before, found, pinned, NOW - days * DAY, NOW)
    decision = POLICIES["min_age"].parse("3d").decide(facts)
    assert (decision.verdict if decision else None) == verdict


def test_min_age_says_since_when_and_until_when() -> None:
    decision = POLICIES["min_age"].parse("3d").decide(Facts(Tag("1"), None, NEW, first_seen=0.0, now=60.0))
    assert decision is not None
    assert decision.reason == "min_age 3d: first seen 1970-01-01 00:00 UTC, waits until 1970-01-04 00:00 UTC"


VERIFY: dict[str, Any] = {"cosign": {"key": "site.pub"}}
EXCEPTIONS = [
    {"image": "src.example/app:1*", "reason": "not signed yet", "until": "1972-09-27"}
]  # its last day is the day of NOW
SIGNED, UNSIGNED = Finding(True, "by site.pub"), Finding(False, "no signature found")
NAMES = ("src.example/app:1.0", f"src.example/app@{NEW.digest}", "src.example/app")


def verify(**keys: Any) -> Policy:
    return POLICIES["verify"].parse({**VERIFY, **keys})


@pytest.mark.parametrize(
    ("keys", "before", "signature", "verdict"),
    [
        ({}, None, SIGNED, None),
        ({}, OLD, SIGNED, None),
        ({}, None, UNSIGNED, "refuse"),
        ({}, OLD, UNSIGNED, "refuse"),
        ({}, NEW, UNSIGNED, "refuse"),
        ({}, NEW, None, None),
        ({}, None, None, "refuse"),
        ({"policy": "enforce"}, None, UNSIGNED, "refuse"),
        ({"policy": "dry_run"}, None, UNSIGNED, "report"),
        ({"policy": "dry_run"}, None, SIGNED, None),
        ({"except": EXCEPTIONS}, None, UNSIGNED, "report"),
        ({"except": EXCEPTIONS}, None, SIGNED, None),
        ({"except": [{**EXCEPTIONS[0], "image": "src.example/other:*"}]}, None, UNSIGNED, "refuse"),
        ({"except": [{**EXCEPTIONS[0], "until": "1972-09-26"}]}, None, UNSIGNED, "refuse"),
        ({"except": [{**EXCEPTIONS[0], "until": "1972-09-26"}, *EXCEPTIONS]}, None, UNSIGNED, "report"),
        ({"except": [{**EXCEPTIONS[0], "image": "src.example/app"}]}, None, UNSIGNED, "report"),
        ({"except": [{**EXCEPTIONS[0], "image": f"*@{NEW.digest}"}]}, None, UNSIGNED, "report"),
    ],
)
def test_verify_refuses_what_is_not_proven_and_was_not_excepted(
    keys: dict[str, Any], before: Descriptor | None, signature: Finding | None, verdict: Verdict | None
) -> None:
    facts = Facts(Tag("1.0"), before, NEW, now=NOW, names=NAMES, signature=signature)
    decision = verify(**keys).decide(facts)
    assert (decision.verdict if decision else None) == verdict


@pytest.mark.parametrize("tag", ["", ".sig", ".att", ".sbom"])
def test_the_tags_of_signatures_need_no_signature(tag: str) -> None:
    assert verify().decide(Facts(Tag(f"sha256-{'0' * 64}{tag}"), None, NEW)) is None


SBOM, SIGNED_BY, SCANNED = (
    ReferrerType("sbom", "application/spdx+json"),
    ReferrerType("signature"),
    ReferrerType("other", "application/vnd.example.scan"),
)


@pytest.mark.parametrize(
    ("require", "found", "lacks"),
    [
        (["sbom"], (SBOM,), ""),
        (["sbom", "signature"], (SBOM, SIGNED_BY), ""),
        (["application/spdx*"], (SBOM,), ""),
        (["*/vnd.example.scan"], (SBOM, SCANNED), ""),
        (["signature"], (SBOM,), "it lacks signature; it has sbom"),
        (["sbom", "attestation", "a/b"], (SBOM, SCANNED), "it lacks attestation and a/b; it has sbom, application/vnd"),
        (["application/SPDX*"], (SBOM,), "it lacks application/SPDX*"),
        (["sbom"], (), "it has no referrers"),
        (["sbom"], None, "they could not be listed"),
    ],
)
@pytest.mark.parametrize("before", [None, OLD])
def test_an_image_that_lacks_a_required_referrer_is_refused(
    before: Descriptor | None, require: list[str], found: tuple[ReferrerType, ...] | None, lacks: str
) -> None:
    decision = Referrers.parse({"require": require}).decide(Facts(Tag("1"), before, NEW, referrers=found))
    assert (decision is None) == (lacks == "")
    assert decision is None or (decision.verdict, lacks in decision.reason) == ("refuse", True)


@pytest.mark.parametrize(
    "facts",
    [
        Facts(Tag("1"), NEW, NEW),
        Facts(Tag("1"), OLD, None),
        *(Facts(Tag(f"sha256-{'0' * 64}{suffix}"), None, NEW) for suffix in ("", ".sig", ".att", ".sbom")),
    ],
)
def test_required_referrers_do_not_concern_present_images_and_tags_of_referrers(facts: Facts) -> None:
    assert Referrers.parse({"require": ["sbom"]}).decide(facts) is None


@pytest.mark.parametrize(
    ("types", "wanted"),
    [
        ([], [SBOM, SIGNED_BY, SCANNED]),
        (["signature"], [SIGNED_BY]),
        (["sbom", "application/vnd.*"], [SBOM, SCANNED]),
        (["application/spdx+json"], [SBOM]),
        (["*"], [SBOM, SIGNED_BY, SCANNED]),
    ],
)
def test_referrers_are_wanted_by_kind_or_type(types: list[str], wanted: list[ReferrerType]) -> None:
    policy = Referrers.parse({"types": types} if types else True)
    assert [one for one in (SBOM, SIGNED_BY, SCANNED) if policy.wants(one)] == wanted


@pytest.mark.parametrize(
    ("before", "until", "deep", "asks"),
    [
        (None, "", False, True),
        (OLD, "", False, True),
        (NEW, "", False, False),
        (NEW, "", True, True),
        (NEW, "1972-09-27", False, False),
        (NEW, "1972-09-26", False, True),
    ],
)
def test_signatures_are_looked_for_only_if_they_can_change_something(
    before: Descriptor | None, until: str, deep: bool, asks: bool
) -> None:
    policy = Verify.parse({**VERIFY, **({"except": [{**EXCEPTIONS[0], "until": until}]} if until else {})})
    assert policy.asks(Facts(Tag("1.0"), before, NEW, now=NOW, names=NAMES), deep=deep) == asks


def test_an_exception_that_is_over_is_said_with_its_reason_and_day() -> None:
    policy = verify(**{"except": [{**EXCEPTIONS[0], "until": "1972-09-26"}]})
    decision = policy.decide(Facts(Tag("1.0"), None, NEW, now=NOW, names=NAMES, signature=UNSIGNED))
    assert decision is not None
    assert decision.reason == ("verify: no signature found; its exception (not signed yet) ended on 1972-09-26")


def test_paths_of_keys_and_of_a_trusted_root_start_from_the_spec() -> None:
    keys = Verify.parse({"cosign": {"key": ["a.pub", "/etc/b.pub"]}})
    assert keys.under("/srv").signed_by == KeyFiles(("/srv/a.pub", "/etc/b.pub"))
    keyless = {"identity": "*@corp.example", "issuer": "https://login.example", "trusted_root": "../root.json"}
    parsed = Verify.parse({"cosign": keyless}).under("/srv/spec")
    assert parsed.signed_by == Identities(("*@corp.example",), "https://login.example", "/srv/root.json")


def test_an_exception_until_a_day_that_does_not_exist_is_rejected() -> None:
    with pytest.raises(GrammarError, match="is not a date"):
        verify(**{"except": [{**EXCEPTIONS[0], "until": "2026-02-30"}]})


def test_a_report_stands_only_if_no_later_policy_decides() -> None:
    facts = Facts(Tag("1.0"), None, NEW, first_seen=NOW, now=NOW, names=NAMES, signature=UNSIGNED)
    dry = verify(policy="dry_run")
    alone = decide((dry, on_change("fail")), facts)
    delayed = decide((dry, POLICIES["min_age"].parse("3d")), facts)
    assert alone is not None
    assert delayed is not None
    assert (alone.verdict, delayed.verdict) == ("report", "delay")


def test_the_first_decision_counts() -> None:
    both = (IMMUTABLE, on_change("update"))
    moved = decide(both, Facts(Tag("v1"), OLD, NEW))
    assert moved is not None
    assert moved.verdict == "refuse"
    other = decide(both, Facts(Tag("edge"), OLD, NEW))
    assert other is not None
    assert other.verdict == "update"
    assert decide(both, Facts(Tag("edge"), OLD, OLD)) is None


def test_policies_that_need_the_source_do_not_decide_without_it() -> None:
    facts = Facts(Tag("v1"), OLD, None)
    assert decide_without_source((on_change("keep"),), facts) is None
    found = decide_without_source((on_change("keep"), IMMUTABLE), facts)
    assert found is not None
    assert found.verdict == "keep"


@pytest.mark.parametrize(
    ("key", "value", "first_seen", "until"),
    [("immutable", ["v*"], 0.0, None), ("on_change", "keep", 0.0, None), ("min_age", "1d", 9.0, 86409.0)],
)
def test_a_decision_names_its_policy_and_its_end(key: str, value: Any, first_seen: float, until: float | None) -> None:
    facts = Facts(Tag("v1" if key == "immutable" else "edge"), OLD, NEW, first_seen=first_seen, now=9.0)
    found = decide([POLICIES["immutable"].parse(["w*"]), POLICIES[key].parse(value)], facts)
    assert found is not None
    assert (found.policy, found.until) == (key, until)


def planned(verdict: Verdict, before: Descriptor | None) -> Plan:
    image = Image(Origin(Location("src.example", "app"), Tag("1")), TARGET, Tag("1"), NEW, "/mirrors/0")
    outline: Mapping[Digest, Any] = {NEW.digest: _Outline()}
    decisions = {image: Decision(verdict, "since a policy says so", "ask its author")}
    observed = Observed({image: before}, manifests=outline, decisions=decisions)
    return diff(Desired((image,)), observed, spec=STAMP, created="2026-01-01T00:00:00Z")


class _Outline:
    descriptor, digest, children, blobs = NEW, NEW.digest, (), ()


@pytest.mark.parametrize(
    ("verdict", "before", "state", "after", "steps"),
    [
        ("update", OLD, "moved", NEW, ["tag:harbor.example/app:1"]),
        ("update", None, "new", NEW, ["tag:harbor.example/app:1"]),
        ("keep", OLD, "kept", OLD, []),
        ("keep", NEW, "unchanged", NEW, []),
        ("refuse", OLD, "refused", OLD, []),
        ("delete", OLD, "deleted", None, ["delete:harbor.example/app:1"]),
        ("delay", OLD, "delayed", NEW, []),
        ("delay", None, "delayed", NEW, []),
        ("report", OLD, "moved", NEW, ["tag:harbor.example/app:1"]),
        ("report", None, "new", NEW, ["tag:harbor.example/app:1"]),
        ("report", NEW, "unchanged", NEW, []),
    ],
)
def test_the_plan_for_a_decision(
    verdict: Verdict, before: Descriptor | None, state: str, after: Descriptor | None, steps: list[str]
) -> None:
    plan = planned(verdict, before)
    (change,) = plan.changes
    assert (change.state, change.before, change.after) == (state, before, after)
    assert [step.id for step in plan.steps] == steps
    assert change.step == "".join(steps)
    assert (change.reason, change.mirror) == ("since a policy says so", "/mirrors/0")
    assert len(plan.failures) == (verdict == "refuse")
    assert all(isinstance(step, DeleteTag) for step in plan.steps if verdict == "delete")


@pytest.mark.parametrize("verdict", ["delete", "keep", "refuse"])
def test_an_absent_tag_that_stays_absent_is_not_a_change(verdict: Verdict) -> None:
    plan = planned(verdict, None)
    assert (plan.changes, plan.steps, plan.totals) == ((), (), {})
    assert [failure.subject for failure in plan.failures] == (["harbor.example/app:1"] if verdict == "refuse" else [])


def test_a_refusal_is_a_failure_with_location_reason_and_remedy() -> None:
    (failure,) = planned("refuse", OLD).failures
    error = failure.error
    assert (failure.subject, error.where) == ("harbor.example/app:1", "harbor.example/app:1")
    assert (error.message, error.remedy) == ("since a policy says so", "ask its author")
    assert error.exit_code == 1
