"""`mirrorsync bundle`: files that carry a part of a mirror across an air gap."""

from __future__ import annotations

from typing import Final

import click

from mirrorsync.cli.command import VerbGroup

# In the order of use; each is a module of this package.
_VERBS: Final = {
    "create": "Write what the far side lacks of a spec's images.",
    "sign": "Add a person's signature to a bundle.",
    "verify": "Read a bundle, and name what is damaged or missing.",
    "repair": "Compute lost and damaged files from parity files.",
    "inspect": "Show what is in a bundle.",
    "apply": "Import a bundle into a registry or a layout.",
    "answer": "Print a short code for the sender: what is missing.",
    "export": "Write images as files that a container runtime imports.",
}


@click.command(cls=VerbGroup, verbs=_VERBS, package=__name__)
def command() -> None:
    """Carry a part of a mirror across an air gap, in files."""
