"""What needs no source: images of which a policy decides by what the destinations have."""

from __future__ import annotations

from collections.abc import Iterable

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.policies import Facts, decide_without_source
from mirrorsync.sync.gather.choose import Question
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session


def may_settle(question: Question) -> bool:
    """Tell whether a policy might decide on an image before its source is asked."""
    return question.wanted.tag is not None and any(one.decides_without_source for one in question.mirror.policies)


def _is_pinned_elsewhere(question: Question, before: Descriptor | None) -> bool:
    pin = question.wanted.ref
    # A digest that platforms are taken from is not that of the image at the destination.
    return isinstance(pin, Digest) and not question.mirror.platforms and before is not None and before.digest != pin


class Settled:
    """What the destinations have of images that policies keep as they are.

    roots: by destination and tag, what the tag names there.
    """

    def __init__(self, session: Session, tags: DestinationTags) -> None:
        self._session = session
        self._tags = tags
        self.roots: dict[tuple[Location, Tag | None], Descriptor] = {}

    async def settle(self, questions: Iterable[Question]) -> list[Question]:
        """Return the questions that have to be asked: those whose images are not kept at every destination."""
        asked = tuple(questions)
        await for_each(asked, self._settle)
        return [one for one in asked if any((target, one.wanted.tag) not in self.roots for target in one.targets)]

    async def _settle(self, question: Question) -> None:
        tag = question.wanted.tag
        for target in question.targets:
            if tag is None or self._session.converting(target) is not None:
                continue  # a place that keeps images in another form cannot tell what its tags name
            try:
                before = await self._tags.named(target, tag)
            except MirrorsyncError:
                continue  # it is told where the destination is looked at
            if _is_pinned_elsewhere(question, before):
                continue  # the spec itself says that it should be another image
            decision = decide_without_source(question.mirror.policies, Facts(tag, before, None))
            if decision is not None and decision.verdict == "keep" and before is not None:
                self.roots[target, tag] = before.bare()
