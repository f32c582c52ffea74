"""Whether a host answers HEAD requests for manifests reliably: the rule, and what this run has learned."""

from __future__ import annotations

from typing import Final

# Hosts of the API where a GET of a manifest counts as a pull, and a HEAD does not (docs.docker.com, "usage and rate
# limits"): there a HEAD is always tried first, even if the last one was wrong.
_COUNT_PULLS: Final = frozenset({"registry-1.docker.io"})

# Answers to a HEAD for which a GET may work: 405 and 501 from hosts that do not support HEAD, 400 and 403 from gateways
# and storages that sign or allow only GET. The GET decides. A 404 is not among them: see `Heads`.
ODD: Final = frozenset({400, 403, 405, 501})


class Heads:
    """Whether one host's answers to HEAD for manifests were right so far.

    If the answer to a HEAD lacks media type, digest or length, a GET follows; if that finds the manifest, the host is
    asked by GET from then on: one request instead of two. The same applies if the answer to a HEAD was complete and
    wrong, which only the manifest itself shows.

    Every registry answers 404 for a missing tag, and a first copy asks for thousands of them: a 404 is believed, and a
    caller that has a reason to doubt it asks again by GET (`RegistryRepository.confirm`): at a source, where the image
    would fail otherwise; and once at a destination whose list of tags has the tag. Nexus answers a HEAD with 404 for
    content that it would fetch for a GET (diun#1614).
    """

    def __init__(self, host: str) -> None:
        """host: of the API, with its port."""
        self.counted = host in _COUNT_PULLS
        self.trusted = True

    def distrust(self) -> None:
        """Record that a HEAD was wrong or incomplete, and a GET right."""
        self.trusted = self.counted
