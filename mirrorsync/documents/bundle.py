"""Bundles as JSON documents: what is in one, what is wrong with one, and the result of an import."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mirrorsync.bundle.encoding import encode
from mirrorsync.bundle.findings import Checked, Finding, Inspected, Repaired
from mirrorsync.bundle.model import Bundle, Image
from mirrorsync.documents.envelope import document
from mirrorsync.documents.parts import amount_json, bare_json, change_json, failures_json, location_json
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.sync.bundle.imported import Imported, Incomplete, Waiting


def bundle_document(found: Inspected) -> dict[str, Any]:
    """Return what is in a bundle as a document."""
    bundle = found.bundle
    carried = {image.name for image in found.carried}
    return document(
        "bundle-contents",
        {
            "bundle": _bundle_json(bundle, found.digest),
            "created": bundle.created,
            "destination": bundle.destination,
            "previous": {"sequence": bundle.previous.sequence, "digest": bundle.previous.digest}
            if bundle.previous
            else None,
            "have": [{"kind": one.kind, "digest": one.digest, "created": one.created} for one in bundle.have],
            "answers": bundle.answers.sequence if bundle.answers else None,
            "images": [_image_json(image, carried=image.name in carried) for image in bundle.images],
            "objects": amount_json(len(bundle.objects), found.bytes_carried),
            "deltas": {"count": len(bundle.deltas), "saved": bundle.bytes_saved},
            "assumes": amount_json(len(bundle.assumes), sum(one.content.size for one in bundle.assumes)),
            "parts": [
                {"name": part.name, "digest": part.digest, "bytes": part.body, "here": number in found.here}
                for number, part in enumerate(bundle.parts, 1)
            ],
            "signatures": found.signatures,
            "parity": found.parity,
            "others": list(found.others),
        },
    )


def bundle_verification_document(checked: Checked) -> dict[str, Any]:
    """Return what is wrong with a bundle as a document."""
    return document(
        "bundle-verification",
        {
            "bundle": _bundle_json(checked.bundle),
            "exit_code": int(checked.exit_code),
            "parts": {"read": checked.files, "of": len(checked.bundle.parts), "bytes": checked.size},
            "findings": _findings_json(checked.findings),
            "images": list(checked.held_up),
        },
    )


def bundle_repair_document(done: Repaired) -> dict[str, Any]:
    """Return what parity files did for a bundle as a document."""
    return document(
        "bundle-repair",
        {
            "stem": done.stem,
            "exit_code": int(done.exit_code),
            "repaired": [_repair_json(name, done) for name in done.repaired],
            "lost": [_repair_json(name, done) for name in done.lost],
        },
    )


def answer_document(found: Incomplete, destination: Location) -> dict[str, Any]:
    """Return what a destination lacks of a bundle as a document, with the code that names it."""
    return document(
        "bundle-answer",
        {
            "bundle": _bundle_json(found.bundle, found.document),
            "destination": location_json(destination),
            "answer": found.code or None,
            "lacking": len(found.lacking),
            "waiting": [_waiting_json(one) for one in found.waiting],
        },
    )


def _repair_json(name: str, done: Repaired) -> dict[str, Any]:
    return {"file": name, "was": "missing" if name in done.missing else "damaged"}


def import_document(done: Imported, code: int) -> dict[str, Any]:
    """Return the result of an import as a document. code: the exit code of the process."""
    counts, report = done.report.counts, done.report
    return document(
        "import",
        {
            "bundle": _bundle_json(done.bundle),
            "started": report.started,
            "finished": report.finished,
            "exit_code": code,
            "interrupted": report.interrupted,
            "images": [{**change_json(result.change), "outcome": result.outcome} for result in report.results],
            "failures": failures_json(report.failures, None),
            "waiting": [_waiting_json(one) for one in done.waiting],
            "answer": done.answer or None,
            "findings": _findings_json(done.checked.findings if done.checked else ()),
            "counts": {
                "read": amount_json(counts.blobs_read, counts.bytes_read),
                "written": amount_json(counts.blobs_written, counts.bytes_written),
                "mounted": amount_json(counts.blobs_mounted, counts.bytes_mounted),
                "early": amount_json(done.early.blobs, done.early.size),
            },
        },
    )


def _bundle_json(bundle: Bundle, digest: Digest | None = None) -> dict[str, Any]:
    return {"name": bundle.name, "sequence": bundle.sequence, "digest": digest or Digest.of(encode(bundle))}


def _image_json(image: Image, *, carried: bool) -> dict[str, Any]:
    return {
        "repository": image.repository,
        "tag": image.tag,
        "root": bare_json(image.content),
        "source": image.source,
        "subject": image.subject,
        "platforms": list(map(str, image.platforms)),
        "carried": carried,
    }


def _findings_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "damage": one.damage.value,
            "file": one.file,
            "part": one.part or None,
            "member": one.member or None,
            "message": one.message,
            "images": list(one.images),
        }
        for one in findings
    ]


def _waiting_json(one: Waiting) -> dict[str, Any]:
    return {
        "target": location_json(one.image.target),
        "tag": one.image.tag,
        "root": bare_json(one.image.root),
        "lacks": [
            {"digest": lack.content.digest, "bytes": lack.content.size, "why": lack.why, "part": lack.part or None}
            for lack in one.lacks
        ],
    }
