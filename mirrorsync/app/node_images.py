"""What nodes have, compared with what a mirror has."""

from __future__ import annotations

from collections.abc import Sequence

from mirrorsync.app.session import query
from mirrorsync.app.stop import Stop
from mirrorsync.environment import Environment
from mirrorsync.foreign.nodes import read_node
from mirrorsync.spec.model import Spec
from mirrorsync.spec.placement import Placement
from mirrorsync.sync.compare import Compared, Comparison, compare

__all__ = ["Compared", "Comparison", "compare_nodes"]


async def compare_nodes(
    files: Sequence[tuple[str, bytes]],
    spec: Spec,
    place: Placement,
    *,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> tuple[Comparison, tuple[str, ...]]:
    """Return how the images in files, as crictl, kubectl and podman list them, compare with those of a mirror.

    files: the name and the bytes of each. With it come the names in these files that are not references. The mirror is
    asked; no source is. Raises: UsageError if a file has none of the formats.
    """
    nodes = [read_node(data, name) for name, data in files]
    used = [one for node in nodes for one in node.used]
    unread = tuple(dict.fromkeys(name for node in nodes for name in node.unread))
    found = await query(
        lambda session: compare(session, used, place), environment, stop, spec.registries, signers=spec.signers
    )
    return found, unread
