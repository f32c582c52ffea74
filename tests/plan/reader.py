"""Plan cases as files: wanted images, the content of the destinations, and the steps of the plan.

A case names blobs and images by words, blobs with their sizes; digests are real, made from those names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import Image, Origin, SpecStamp
from mirrorsync.plan.steps import CopyBlob, MountBlob, PutManifest, SetTag, Step

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
STAMP = SpecStamp("/etc/mirror.yaml", Digest.of(b"spec"))


def location(text: str) -> Location:
    store, _, repository = text.partition("/")
    return Location(store, repository)


@dataclass
class Case:
    """One case file, read."""

    document: dict[str, Any]
    names: dict[Digest, str] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Case:
        case = cls(yaml.safe_load(path.read_text()))
        for name, members in case.document["images"].items():
            case._add_image(name, members)
        return case

    def blob(self, text: str) -> Descriptor:
        name, _, size = text.partition(":")
        blob = Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(name.encode()), int(size or 1))
        self.names[blob.digest] = name
        return blob

    def _add_image(self, name: str, members: list[str] | dict[str, list[str]]) -> None:
        if isinstance(members, dict):
            children = [self.manifests[child].descriptor.to_json() for child in members["index"]]
            document = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": children}
        else:
            config, *layers = [self.blob(text).to_json() for text in members]
            document = {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, "config": config, "layers": layers}
        document["annotations"] = {"name": name}
        manifest = Manifest.parse(json.dumps(document).encode())
        self.manifests[name] = manifest
        self.names[manifest.digest] = name

    def _digest(self, name: str) -> Digest:
        return self.manifests[name].digest if name in self.manifests else Digest.of(name.encode())

    def desired(self) -> Desired:
        images = []
        for line in self.document["wanted"]:
            name, _, written = line.partition(" -> ")
            target, _, tag = written.partition(":")
            root = self.manifests[name].descriptor
            named = Tag(tag) if tag else None
            images.append(Image(Origin(location(f"src/{name}"), named), location(target), named, root))
        return Desired(tuple(images))

    def observed(self) -> Observed:
        document = self.document
        present = document.get("present", {})
        images = self.desired().images
        names = [line.partition(" -> ")[2] for line in document["wanted"]]
        return Observed(
            roots={
                image: self.manifests[present[name]].descriptor if name in present else None
                for image, name in zip(images, names, strict=True)
            },
            contents={
                location(written): frozenset(map(self._digest, members))
                for written, members in document.get("contents", {}).items()
            },
            elsewhere={
                store: {self._digest(name): repository for name, repository in blobs.items()}
                for store, blobs in document.get("elsewhere", {}).items()
            },
            shared=frozenset(document.get("shared", [])),
            manifests={manifest.digest: manifest for manifest in self.manifests.values()},
            deep=document.get("deep", False),
        )

    def words(self, step: Step) -> str:
        """Return a step as the case files write it."""
        if isinstance(step, CopyBlob):
            targets = " ".join(sorted(map(str, step.targets)))
            return f"copy {self.names[step.blob.digest]} -> {targets}"
        if isinstance(step, MountBlob):
            return f"mount {self.names[step.blob.digest]} {step.origin} -> {step.target}"
        if isinstance(step, PutManifest):
            return f"put {self.names[step.manifest.digest]} -> {step.target}"
        assert isinstance(step, SetTag)
        was = f" was {self.names[step.before.digest]}" if step.before else ""
        return f"tag {self.names[step.manifest.digest]} -> {step.target}:{step.tag}{was}"

    def needs(self, steps: tuple[Step, ...]) -> dict[str, list[str]]:
        """Return the needs of each step, as the case files write them."""
        words = {step.id: self.words(step) for step in steps}
        assert all(isinstance(step, SetTag | PutManifest | MountBlob | CopyBlob) for step in steps)
        return {words[step.id]: sorted(words[need] for need in step.needs) for step in steps if step.needs}
