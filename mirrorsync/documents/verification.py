"""Verifications as JSON documents (schemas/verification.schema.json)."""

from __future__ import annotations

from typing import Any

from mirrorsync.documents.envelope import document
from mirrorsync.documents.parts import amount_json, bare_json, failures_json, location_json, spec_json
from mirrorsync.sync.verify.model import Depth, Finding, Verification, VerifiedImage


def verification_document(found: Verification) -> dict[str, Any]:
    """Return a verification as a document."""
    return document(
        "verification",
        {
            "scope": found.scope or None,
            "spec": spec_json(found.spec) if found.spec else None,
            "started": found.started,
            "finished": found.finished,
            "seconds": round(found.seconds, 3),
            "exit_code": int(found.exit_code),
            "depth": _depth_json(found.depth),
            "images": [_image_json(image) for image in found.images],
            "policies": list(found.policies),
            "findings": [_finding_json(finding) for finding in found.findings],
            "failures": failures_json(found.failures, found.spec),
            "counts": {
                "contents": found.contents,
                "candidates": found.candidates,
                "manifests": amount_json(found.manifests.blobs, found.manifests.size),
                "read": amount_json(found.blobs.blobs, found.blobs.size),
            },
        },
    )


def _depth_json(depth: Depth) -> dict[str, Any]:
    read = {None: "this machine", True: "all", False: "none"}[depth.content]
    sampled = depth.percent is not None
    return {"read": "sample" if sampled else read, "percent": depth.percent, "seed": depth.seed if sampled else None}


def _image_json(image: VerifiedImage) -> dict[str, Any]:
    subject = image.subject
    return {
        "target": location_json(subject.target),
        "ref": str(subject.ref),
        "mirror": subject.mirror,
        "health": image.health.value,
        "reason": image.reason,
        "trust": {"state": image.trusted.state.value, "fact": image.trusted.fact} if image.trusted else None,
        "root": bare_json(image.root),
        "wanted": bare_json(subject.wanted.root) if subject.wanted else None,
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    found = finding.found
    return {
        "health": finding.health.value,
        "target": location_json(finding.target),
        "content": bare_json(finding.part.content),
        "role": finding.part.role,
        "found": {"digest": found.digest, "size": found.size} if found else None,
        "images": [str(subject) for subject in finding.images],
    }
