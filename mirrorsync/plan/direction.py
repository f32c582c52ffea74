"""Whether a tag moves back: to an image that this mirror had before, or knew earlier, or that was built earlier. Pure.

The memory of the mirror counts first: the time in an image is its publisher's word.
"""

from __future__ import annotations

from dataclasses import dataclass

from mirrorsync.durations import moment


@dataclass(frozen=True, slots=True)
class Ages:
    """What is known of the image under a tag and of the one that the tag moves to, in seconds since the epoch.

    had_until: when this tag last had the new image, by the generations of the mirror. first_before, first_found: when
    each was first seen; created_before, created_found: when each says that it was built. None = not known.
    """

    had_until: float | None = None
    first_before: float | None = None
    first_found: float | None = None
    created_before: float | None = None
    created_found: float | None = None


def moves_back(ages: Ages) -> str:
    """Return that a tag moves to an older image, as a sentence with the reason; "" if that is not known."""
    if ages.had_until is not None:
        return f"moves back to an image that this mirror had until {moment(ages.had_until)}"
    if _before(ages.first_found, ages.first_before):
        return f"moves back to an image that was first seen earlier: {_span(ages.first_found, ages.first_before)}"
    if _before(ages.created_found, ages.created_before):
        return f"moves back to an older image: created {_span(ages.created_found, ages.created_before)}"
    return ""


def _before(found: float | None, before: float | None) -> bool:
    return found is not None and before is not None and found < before


def _span(found: float | None, before: float | None) -> str:
    return f"{moment(found or 0.0)}, the present one {moment(before or 0.0)}"
