"""The images that a lock lacks, as failures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mirrorsync.errors import NotLocked
from mirrorsync.oci.reference import Reference
from mirrorsync.plan.model import Failure
from mirrorsync.spec.locked import lacking_reference, update_command
from mirrorsync.spec.model import Lacking, Mirror, Spec
from mirrorsync.sync.gather.choose import Chosen
from mirrorsync.sync.gather.targets import targets_of


class Lacks:
    """The images that the chosen mirrors of a locked spec want, and its lock lacks."""

    def __init__(self, spec: Spec, mirrors: Sequence[Mirror]) -> None:
        self._spec = spec
        pointers = {mirror.pointer for mirror in mirrors}
        self._lacking = [one for one in spec.lacking if one.mirror.pointer in pointers]
        self._references = {lacking_reference(one) for one in self._lacking}

    def known(self, images: Sequence[Reference]) -> list[Reference]:
        """Return the images of a list that the lock may have."""
        return [one for one in images if one not in self._references or not one.names_one]

    def add_to(self, chosen: Chosen, only: Sequence[Reference] | None = None) -> Chosen:
        """Return the chosen names with a failure for each image that the lock lacks. only: None = for all of them."""
        lacking = [one for one in self._lacking if only is None or lacking_reference(one) in only]
        failing = {one.mirror.pointer for one in lacking}
        for one in lacking:
            chosen.unsure.add(one.mirror)
        return replace(
            chosen,
            failures=(*chosen.failures, *map(self._failure, lacking)),
            sources={pointer: sources for pointer, sources in chosen.sources.items() if pointer not in failing},
        )

    def _failure(self, one: Lacking) -> Failure:
        reference = lacking_reference(one)
        what = "the lock lacks it" if one.ref is not None else "the lock has no tag that the filters match"
        remedy = f"update it: {update_command(self._spec, one.source)}"
        error = NotLocked(what, remedy=remedy, side="source", place=one.source.at(one.ref))
        targets = targets_of(one.mirror, one.source)
        return Failure(str(reference), error, one.mirror.pointer, one.source, one.ref, targets)
