"""Whether a host's HEAD for a manifest is worth anything: the rule, and what this run has learned."""

from __future__ import annotations

from typing import Final

# Hosts of the API where a GET of a manifest counts as a pull, and a HEAD does not (docs.docker.com, "usage and rate
# limits"): there a HEAD is always tried first, whatever went wrong with the last one.
_COUNT_PULLS: Final = frozenset({"registry-1.docker.io"})

# What a HEAD may be answered with where a GET works: 405 and 501 by those that know no HEAD, 400 and 403 by gateways
# and storages that sign or allow GET alone. GET decides. A 404 is not among them: see `Heads`.
ODD: Final = frozenset({400, 403, 405, 501})


class Heads:
    """What one host's HEADs for manifests were worth so far.

    A HEAD that does not plainly say media type, digest and length is followed by a GET, and when that finds the
    manifest, the host is asked by GET from then on: one question instead of two. So it is when a HEAD was plain and
    wrong, which only the manifest itself shows.

    404 is what every registry answers for a tag that it does not have, and a first copy asks for thousands of those:
    it is believed, and whoever has a reason to doubt it asks again by GET (`RegistryRepository.confirm`): at a source,
    where the image would fail otherwise; and once at a destination whose list of tags has the tag. Nexus answers a
    HEAD with 404 for what it would fetch for a GET (diun#1614).
    """

    def __init__(self, host: str) -> None:
        """host: of the API, with its port."""
        self.counted = host in _COUNT_PULLS
        self.trusted = True

    def distrust(self) -> None:
        """Take note that a HEAD was wrong, or said too little, where a GET was right."""
        self.trusted = self.counted
