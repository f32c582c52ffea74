"""A verification as text: what is missing or damaged, one line in sum, and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from rich.filesize import decimal

from mirrorsync.cli.output.render import count
from mirrorsync.cli.output.stdio import LINE_LIMIT
from mirrorsync.sync.verify.model import Finding, Found, Health, Trust, Verification, VerifiedImage
from mirrorsync.text import printable, some_of

_IMAGES_SHOWN: Final = 3  # of one finding
_LINES_SHOWN: Final = 50  # of images, one line each
_NOTED: Final = (Health.DAMAGED, Health.MISSING, Health.BEHIND, Health.UNCHECKED)
_MISSING_PROOF: Final = (Trust.UNPROVEN, Trust.EXCEPTED)
_AS_TEXT: Final = {Health.UNCHECKED: "not checked"}


def findings_text(found: Verification, *, whole: bool) -> str:
    """Return what is missing, damaged or behind; "" if nothing is. whole: with all images of each."""
    lines = [line for finding in found.findings for line in _finding(finding, whole=whole)]
    lines += _shortened(list(_images(found.images)), whole=whole)
    lines += _shortened(list(_trust(found.images, whole=whole)), whole=whole)
    return "\n".join(printable(line, LINE_LIMIT) for line in lines)


def _finding(finding: Finding, *, whole: bool) -> Iterator[str]:
    content, images = finding.part.content, sorted(finding.images, key=str)  # found out in no particular order
    yield f"{finding.health}: {finding.part.role}, {decimal(content.size)}"
    yield f"  {content.digest}"
    if finding.found is not None:
        yield f"  found {_instead(finding.found)}"
    shown = images if whole or len(images) <= _IMAGES_SHOWN + 1 else images[:_IMAGES_SHOWN]
    yield from (f"  in {subject}" for subject in shown)
    if len(shown) < len(images):
        yield f"  and {len(images) - len(shown)} more images (-v shows them)"


def _instead(found: Found) -> str:
    size = "" if found.size is None else count(found.size, "byte")
    return ", ".join(part for part in (found.digest, size) if part) or "other content"


def _images(images: Iterable[VerifiedImage]) -> Iterator[str]:
    for image in images:
        if image.root is None and image.health == Health.MISSING:
            yield f"missing: {image.subject}"
        elif image.health == Health.BEHIND and image.root is not None and image.subject.wanted is not None:
            now = image.subject.wanted.root.digest.short
            yield f"behind: {image.subject} is {image.root.digest.short}; its source names {now}"


def _trust(images: Iterable[VerifiedImage], *, whole: bool) -> Iterator[str]:
    """Yield what is not proven; with `whole`, every image that was examined."""
    for image in images:
        if image.trusted is not None and (whole or image.trusted.state in _MISSING_PROOF):
            yield f"{image.trusted.state}: {image.subject}: {image.trusted.fact}"


def _shortened(lines: list[str], *, whole: bool) -> list[str]:
    if whole or len(lines) <= _LINES_SHOWN:
        return lines
    return [*lines[:_LINES_SHOWN], f"and {len(lines) - _LINES_SHOWN} more images (-v shows them)"]


def verification_summary(found: Verification) -> str:
    """Return one line: the number of images by health, and how much was read; "" if none could be checked."""
    counts = found.counts
    if sum(counts.values()) == counts[Health.UNCHECKED]:
        return "" if found.failures else "no images to verify"
    parts = [f"{count(counts[Health.COMPLETE], 'image')} complete"]
    parts += [f"{counts[health]} {_AS_TEXT.get(health, health)}" for health in _NOTED if counts[health]]
    kept = sum(bool(image.reason) for image in found.images)
    policy = f" ({kept} kept by a policy)" if kept else ""
    proofs = [f"{found.trust[state]} {state}" for state in Trust if found.trust[state]]
    policies = f" (policy of {some_of(found.policies, 2)})" if found.policies else ""
    signatures = f"; signatures: {', '.join(proofs)}{policies}" if proofs else ""
    return f"{', '.join(parts)}{policy}{signatures}; {_amount(found)}"


def _amount(found: Verification) -> str:
    size, seconds = found.manifests.size + found.blobs.size, found.seconds
    time = f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"
    read = f"{decimal(size)} read in {time} s ({decimal(int(size / seconds) if seconds else 0)}/s)"
    if found.depth.percent is not None:
        return f"{found.blobs.blobs} of {count(found.candidates, 'blob')} (seed {found.depth.seed}), {read}"
    if found.blobs.blobs:
        return read
    return f"presence of {found.contents} blobs and manifests checked, content of blobs not read"


def remedy(found: Verification, spec: str) -> str:
    """Return what to do; "" if nothing is missing, damaged or behind. spec: as written, "" for a location."""
    counts = found.counts
    if found.trust[Trust.UNPROVEN] and any(_is_unsigned(image) for image in found.images):
        return "signatures are read where the images are: referrers: true mirrors them with the images"
    if not found.findings:
        lacks = counts[Health.MISSING] or counts[Health.BEHIND]
        return f"`mirrorsync apply {spec}` brings it up to date" if lacks and spec else ""
    if any(one.health == Health.DAMAGED and one.target.transport.is_registry for one in found.findings):
        again = f"`mirrorsync apply --deep {spec}`" if spec else "copy the images again"
        return f"registries keep a damaged blob when it is sent again: remove it from the storage, then {again}"
    if spec:
        return f"`mirrorsync apply --deep {spec}` copies it again"
    return "copy the images again to a new path, or `mirrorsync apply --deep` a spec that names them"


def _is_unsigned(image: VerifiedImage) -> bool:
    trusted = image.trusted
    return trusted is not None and trusted.state == Trust.UNPROVEN and "no signature found" in trusted.fact
