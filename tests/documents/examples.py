"""A document of every kind, with all its members, as the writers make it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mirrorsync.bundle import findings as of_bundles
from mirrorsync.bundle.held import Held, HeldRepository, Inventory, Unread
from mirrorsync.bundle.model import Link
from mirrorsync.clients.model import File, Lost, Rule, Site, Written
from mirrorsync.clients.model import Registry as ClientRegistry
from mirrorsync.credentials import Kept
from mirrorsync.documents.answers import (
    login_document,
    logout_document,
    serving_document,
    started_document,
    tags_document,
)
from mirrorsync.documents.bundle import (
    answer_document,
    bundle_document,
    bundle_repair_document,
    bundle_verification_document,
    import_document,
)
from mirrorsync.documents.bundle_creation import bundle_creation_document
from mirrorsync.documents.comparison import comparison_document
from mirrorsync.documents.configuration import configuration_document
from mirrorsync.documents.envelope import Kind
from mirrorsync.documents.error import error_document, validation_document
from mirrorsync.documents.explanation import explanation_document
from mirrorsync.documents.export import export_document
from mirrorsync.documents.history import history_document
from mirrorsync.documents.images import images_document
from mirrorsync.documents.impact import impact_document
from mirrorsync.documents.imports import imports_document
from mirrorsync.documents.inspection import inspection_document
from mirrorsync.documents.inventory import inventory_document
from mirrorsync.documents.lock import difference_document, lock_document
from mirrorsync.documents.plan import plan_document
from mirrorsync.documents.relocation import relocation_document
from mirrorsync.documents.report import report_document
from mirrorsync.documents.state import state_document
from mirrorsync.documents.verification import verification_document
from mirrorsync.errors import ContentNotFound
from mirrorsync.events import Noticed
from mirrorsync.foreign.nodes import Used
from mirrorsync.foreign.relocation import find_images
from mirrorsync.hosts import Pulls
from mirrorsync.oci import media_types
from mirrorsync.oci.config import ImageConfig
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Pick, Tag
from mirrorsync.oci.reference import Location, Reference
from mirrorsync.plan.inventory import Desired
from mirrorsync.plan.model import (
    Amount,
    Change,
    Failure,
    Image,
    LockStamp,
    Origin,
    Plan,
    ReferrerCounts,
    Related,
    SpecStamp,
    State,
    Totals,
    Unwanted,
    Vanished,
)
from mirrorsync.plan.steps import CopyBlob, DeleteManifest, DeleteTag, MountBlob, PutManifest, SetTag
from mirrorsync.problems import Problem, SpecError
from mirrorsync.spec.explain import Verdict
from mirrorsync.spec.lock import Lock, LockChange
from mirrorsync.spec.model import Mirror
from mirrorsync.spec.selection import Selection
from mirrorsync.state import Absence, Backup, Owned, PastImport, Remembered, Run, RunTag
from mirrorsync.sync.bundle.exporting import Archive, Exported, Unwritten
from mirrorsync.sync.bundle.imported import Imported, Incomplete, Lack, Waiting
from mirrorsync.sync.compare import Compared, Comparison
from mirrorsync.sync.explained import AtTarget, ExplainedSource, ExplainedTag, ExplainedTags
from mirrorsync.sync.gather.attached import Attachment
from mirrorsync.sync.impact import Dependent, Impact
from mirrorsync.sync.relocate import Moved, Relocated
from mirrorsync.sync.run.report import Report, Result
from mirrorsync.sync.run.transfer import Counts
from mirrorsync.sync.single.inspect import Examination, Inspected, Member
from mirrorsync.sync.verify.model import (
    Depth,
    Finding,
    Found,
    Health,
    Part,
    Subject,
    Trust,
    Trusted,
    Verification,
    VerifiedImage,
)
from tests.bundle.values import example

TIME = "2026-01-01T00:00:00Z"
SOURCE, CORP, DISK = (
    Location("source.example", "team/app"),
    Location("corp.example:5000", "mirror/app"),
    Location("oci:/srv/mirror", "app"),
)
STAMP = SpecStamp(
    "/etc/mirror.yaml",
    Digest.of(b"spec"),
    ("team/*",),
    {"corp": Location(CORP.store, "mirror"), "disk": Location(DISK.store, "")},
    {"/mirrors/0": 12},
    LockStamp("/etc/mirror.lock", Digest.of(b"lock")),
)


def content(name: str, media_type: str = media_types.OCI_LAYER_GZIP) -> Descriptor:
    return Descriptor(media_type, Digest.of(name.encode()), len(name))


CHILD, INDEX, OLD = (
    content("child", media_types.OCI_MANIFEST),
    content("index", media_types.OCI_INDEX),
    content("old", media_types.OCI_INDEX),
)
LAYER = content("layer")
LOCK = Lock({(SOURCE, Tag("1.0")): INDEX.digest})
LOCK_CHANGES = (
    LockChange(SOURCE, Tag("1.0"), OLD.digest, INDEX.digest),
    LockChange(DISK, CHILD.digest, CHILD.digest, None),
    LockChange(DISK, Tag("2.0"), None, CHILD.digest),
)
FAILURE = Failure(
    "source.example/team/app:9",
    ContentNotFound("not there", remedy="look").at(SOURCE.at(Tag("9")), side="source", step="tag:x"),
    "/mirrors/0",
    SOURCE,
    Tag("9"),
    (CORP, DISK),
    "verify",
    ("exact",),
)
TAGGED = Origin(SOURCE, Tag("1.0"), (Platform.parse("linux/arm64/v8"),))
PICKED = Origin(Location("docker-archive:/srv/app.tar", ""), Pick("@0"))
FROM_INDEX = Origin(SOURCE, INDEX.digest, (Platform.parse("linux/arm64"),), index="sparse")
SIGNATURE = Origin(SOURCE, subject=INDEX.digest)
PAST = Run(7, TIME, TIME, 3, {"new": 1, "failed": 1}, 5, 6, 2)
REMEMBERED = Remembered(
    {INDEX.digest: TIME},
    {(SOURCE, Tag("1.0")): TIME},
    {(CORP, Tag("1.0")): Owned(INDEX.digest, TIME, False, SOURCE)},
    {(SOURCE, Tag("0.5")): Absence(TIME, TIME, "us", "moved")},
    {(CORP, Tag("1.0-20260101")): Backup(Tag("1.0"), OLD.digest, TIME)},
)
PAST_IMPORT = PastImport("shop-000007", INDEX.digest, ("corp.example/m",), TIME, TIME, 3, {"done": 1, "delayed": 2}, 5)
KILLED_IMPORT = PastImport("shop-000007", INDEX.digest, ("corp.example/m",), TIME)
PAST_CHANGE = RunTag((CORP, Tag("1.0")), OLD.digest, INDEX.digest, "moved", "done")
WANTED = Image(TAGGED, CORP, Tag("1.0"), INDEX, "/mirrors/0")


VANISHED = (Vanished(SOURCE, (Tag("0.7"),)), Vanished(SOURCE, (Tag("0.5"), Tag("0.6")), True, TIME, True))


def plan() -> Plan:
    """Return a plan with a step of every kind, and an image for every way to name one."""
    copy = CopyBlob(LAYER, SOURCE, (CORP, DISK))
    mount = MountBlob(content("shared"), "library/base", CORP, SOURCE, (copy.id,))
    put = PutManifest(CHILD, SOURCE, CORP, (copy.id, mount.id))
    tag = SetTag(INDEX, SOURCE, CORP, Tag("1.0"), OLD, (put.id,))
    bare = PutManifest(CHILD, SOURCE, DISK, (copy.id,))
    picked, arm = (
        SetTag(CHILD, origin.location, DISK, Tag(name), None, (bare.id,))
        for name, origin in (("picked", PICKED), ("arm", FROM_INDEX))
    )
    gone, lost = DeleteTag(DISK, Tag("gone"), OLD), DeleteManifest(CORP, OLD, (Tag("lost"), Tag("last")))
    stays = (Related("tag", "2.0"),)
    return Plan(
        TIME,
        STAMP,
        (
            Change(CORP, Tag("1.0"), OLD, INDEX, State.MOVED, "", "/mirrors/0", TAGGED, tag.id),
            Change(DISK, None, None, CHILD, State.NEW, "", "/mirrors/1", Origin(SOURCE), bare.id),
            Change(DISK, Tag("picked"), None, CHILD, State.NEW, "", "/mirrors/2", PICKED, picked.id),
            Change(DISK, Tag("arm"), None, CHILD, State.NEW, "", "/mirrors/3", FROM_INDEX, arm.id),
            Change(
                DISK,
                Tag("kept"),
                OLD,
                INDEX,
                State.KEPT,
                "min_age",
                "/mirrors/4",
                TAGGED,
                policy="min_age",
                verdict="delay",
                until=0.0,
                filters=("semver >=1", "newest 3"),
            ),
            Change(DISK, Tag("gone"), OLD, None, State.DELETED, "", "", None, gone.id, stays),
            Change(CORP, None, OLD, None, State.DELETED, "", "", None, lost.id),
            Change(DISK, None, CHILD, CHILD, State.UNCHANGED, "", "/mirrors/3", SIGNATURE),
            Change(DISK, Tag("part"), CHILD, CHILD, State.UNCHANGED, "", "/mirrors/3", TAGGED, whole=INDEX.digest),
        ),
        (copy, mount, put, tag, bare, picked, arm, gone, lost),
        (FAILURE,),
        {
            CORP.store: Totals({State.MOVED: 1, State.DELETED: 1}, {"copy": Amount(1, 5), "mount": Amount(1, 6)}),
            DISK.store: Totals({State.NEW: 3}, {"copy": Amount(1, 5), "present": Amount(2, 9)}),
        },
        (Unwanted(DISK, (Tag("0.8"), Tag("0.9"))),),
        VANISHED,
        ReferrerCounts(4, 3, 1),
    )


def _examination() -> Examination:
    config = {"architecture": "arm64", "os": "linux", "author": "us", "created": TIME,
              "config": {"Env": ["A=b"], "Labels": {"a": "b"}, "Cmd": ["x"], "Entrypoint": ["y"]}}  # fmt: skip
    stored = Descriptor.of(json.dumps(config).encode(), media_types.OCI_CONFIG)
    members = {"config": stored.to_json(), "layers": [LAYER.to_json()], "annotations": {"a": "b"}}
    image = Manifest.parse(json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, **members}).encode())
    platform = {"os": "linux", "architecture": "arm64"}
    entry = {**image.descriptor.to_json(), "platform": platform, "annotations": {"a": "b"}}
    index = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [entry], "annotations": {"a": "b"}}
    root = Manifest.parse(json.dumps(index).encode())
    return Examination(
        Reference(SOURCE, Tag("1.0")),
        root,
        (Member(root.entries[0], "image"), Member(CHILD, "attestation", image.digest)),
        Inspected(image, ImageConfig.parse(json.dumps(config).encode()), (LAYER,)),
        (_attachment(image.digest),),
        (Tag("1.0"), Tag("2.0")),
        ("its tags could not be listed",),
    )


def _attachment(subject: Digest) -> Attachment:
    signed = Descriptor(media_types.OCI_MANIFEST, Digest.of(b"signature"), 9, annotations={"a": "b"})
    return Attachment("signature", signed, subject, Tag("sha256-00.sig"))


def _verification() -> Verification:
    subject = Subject(CORP, Tag("1.0"), wanted=WANTED, mirror="/mirrors/0")
    finding = Finding(Health.DAMAGED, CORP, Part(LAYER, "layer 1 of 2"), Found(9, Digest.of(b"other")), (subject,))
    image = VerifiedImage(subject, OLD, Health.DAMAGED, "on_change keep", Trusted(Trust.PROVEN, "by site.pub"))
    depth, read = Depth(percent=5, seed=7), (Amount(2, 500), Amount(1, 40))
    return Verification("", STAMP, depth, TIME, TIME, 1.5, (image,), (finding,), (FAILURE,), 9, *read, 20)


def _explanation() -> ExplainedTags:
    kept = next(one for one in plan().changes if one.policy)
    targets = (AtTarget(DISK, kept), AtTarget(CORP, None, FAILURE), AtTarget(CORP))
    tags = (ExplainedTag(Tag("1.0"), True, ("all",), targets), ExplainedTag(OLD.digest, False, ("not a version",)))
    return ExplainedTags(STAMP, (ExplainedSource("/mirrors/0", SOURCE, True, tags),), (FAILURE,))


def _comparison() -> Comparison:
    used = Used(Reference(SOURCE, Tag("1")), frozenset({OLD.digest}), "node.json, web/pod")
    images = (Compared(used, "drifted", Reference(CORP, Tag("1")), INDEX.digest), Compared(used, "missing"))
    return Comparison(images, (Reference(CORP, Tag("2")),), (FAILURE,))


def _relocated() -> list[Relocated]:
    uses = find_images(b"image: docker.io/library/nginx:1\nargs: [quay.io/a/b:1]", "app.yaml")
    target = Reference(CORP, Tag("1"))
    return [
        Relocated("app.yaml", (Moved(uses[0], "rewritten", target), Moved(uses[1], "failed", None, "unknown")), b"")
    ]


def inventory() -> Inventory:
    repository = HeldRepository({Tag("1.0"): INDEX.digest}, {INDEX.digest: INDEX}, {LAYER.digest: LAYER})
    applied = {"0" * 64: Link(3, INDEX.digest)}
    held = Held({"app": repository})
    return Inventory(TIME, "corp.example/mirror", "mirrorsync 1", held, (Unread("app:9", "no"),), applied)


def _configuration() -> tuple[Site, Written]:
    rule = Rule("docker.io", "library/alpine", "mirror/alpine", ("/mirrors/0",), tag="3.20")
    lost, file = Lost(rule, "its tag 1 is 2"), File("/etc/rancher/k3s/registries.yaml", "mirrors: {}\n")
    return Site("mirror.yaml", "corp", ClientRegistry("corp.example"), (rule,)), Written((file,), (lost,), ("note",))


def _mirror() -> Mirror:
    return Mirror("/mirrors/0", SOURCE, Selection(), (), line=12)


BUNDLE = example()
DAMAGED = of_bundles.Finding(of_bundles.Damage.DAMAGED, "x.tar", "bytes", 1, "m", ("a:1",))
EXPORTED = Exported((Archive(Path("/x.tar"), "a/b:1", INDEX.digest, 9, written=True),), (Unwritten("a/c:1", "why"),))
CHECKED = of_bundles.Checked(BUNDLE, of_bundles.Present(frozenset([1])), (DAMAGED,), 1, 9)
WAITING = Waiting(WANTED, (Lack(INDEX, "it is in part 2 of 3, which is not here", 2),))


def documents() -> dict[Kind, dict[str, Any]]:
    """Return a document of every kind."""
    problem = Problem("this is wrong", "/mirrors/0", 3, 5, "write something else")
    results = (Result(plan().changes[0], "done"), Result(plan().changes[1], "skipped"))
    report = Report(
        TIME,
        TIME,
        STAMP,
        results,
        (FAILURE,),
        Counts(1, 2, 3, 4, 5, 6, Amount(7, 8)),
        (Noticed("corp.example", "old"),),
        True,
        VANISHED,
        {"docker.io": Pulls(24, 76, 100, 21600, "192.0.2.7"), "quay.io": Pulls(3)},
        ReferrerCounts(4, 3, 1),
    )
    impact = Impact(
        "source.example",
        (_mirror(),),
        (
            Dependent(CORP, Tag("1.0"), Owned(INDEX.digest, TIME, False, SOURCE)),
            Dependent(CORP, Tag("0.5"), Owned(OLD.digest, TIME, False, SOURCE), Absence(TIME, TIME, "us", "moved")),
        ),
    )
    return {
        "comparison": comparison_document(_comparison()),
        "bundle-answer": answer_document(Incomplete(BUNDLE, INDEX.digest, (WAITING,)), WAITING.image.target),
        "bundle-contents": bundle_document(of_bundles.Inspected(BUNDLE, INDEX.digest, frozenset([1]), 1)),
        "bundle-repair": bundle_repair_document(
            of_bundles.Repaired("shop-000007", ("x.tar",), ("y.tar",), frozenset(["y.tar"]), 11, 10, 100)
        ),
        "bundle-verification": bundle_verification_document(CHECKED),
        "import": import_document(Imported(BUNDLE, report, (WAITING,), Amount(1, 2), CHECKED), 4),
        "configuration": configuration_document("k3s", *_configuration(), ["/etc/x/registries.yaml"]),
        "bundle-export": export_document("k3s", EXPORTED),
        "bundle-creation": bundle_creation_document(plan(), example(), ["shop-000007.json"]),
        "difference": difference_document("old.lock", "new.lock", LOCK_CHANGES),
        "error": error_document(SpecError("/etc/mirror.yaml", [problem])),
        "explanation": explanation_document(_explanation()),
        "history": history_document("/etc/mirror.yaml", [(PAST, (PAST_CHANGE,))]),
        "images": images_document(Desired((WANTED,), (FAILURE,)), STAMP),
        "impact": impact_document("/etc/mirror.yaml", [impact]),
        "imports": imports_document([PAST_IMPORT, KILLED_IMPORT]),
        "inspection": inspection_document(_examination()),
        "inventory": inventory_document(inventory()),
        "lock": lock_document(LOCK, LOCK_CHANGES, (FAILURE,), STAMP, {(SOURCE, Tag("2.0")): "min_age 3d"}),
        "login": login_document("corp.example", "team", "us", Kept(Path("/auth.json"), "pass"), checked=True),
        "logout": logout_document(["corp.example/team"]),
        "plan": plan_document(plan()),
        "relocation": relocation_document(_relocated()),
        "report": report_document(report),
        "serving": serving_document("[::1]", 5000),
        "started": started_document("mirror.yaml", 3, ["HUB_TOKEN"]),
        "state": state_document("/etc/mirror.yaml", REMEMBERED),
        "tags": tags_document(CORP, ["1.0"], [("1.0", Verdict(Tag("1.0"), True, ("glob 1.*",)))]),
        "verification": verification_document(_verification()),
        "validation": validation_document("/etc/mirror.yaml", [problem, Problem("no YAML")]),
    }


def large_plan(images: int, spec: str) -> Plan:
    """Return a plan of new images in 50 repositories, each with a config and a layer of its own. spec: its path."""
    changes, copies, tags = [], [], []
    for number in range(images):
        source = Location("source.example", f"team-{number % 50}/app")
        target = Location("corp.example:5000", f"source.example/team-{number % 50}/app")
        root = content(f"root {number}", media_types.OCI_MANIFEST)
        own = [CopyBlob(content(f"{part} {number}"), source, (target,)) for part in ("config", "layer")]
        tag = SetTag(root, source, target, Tag(f"v1.{number}"), None, tuple(step.id for step in own))
        origin = Origin(source, tag.tag)
        changes.append(Change(target, tag.tag, None, root, State.NEW, "", "/mirrors/0", origin, tag.id))
        copies += own
        tags.append(tag)
    return Plan(TIME, SpecStamp(spec, STAMP.digest), tuple(changes), (*copies, *tags))
