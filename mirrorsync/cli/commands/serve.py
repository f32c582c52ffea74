"""`mirrorsync serve`."""

from __future__ import annotations

import click

from mirrorsync.app.reading import absolute
from mirrorsync.app.serving import serving_layout
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_layout
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.sessions import run
from mirrorsync.cli.stop import Stop
from mirrorsync.documents.answers import serving_document
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.oci.reference import parse_destination


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Serve a mirror to this machine, at http://127.0.0.1:5000", "mirrorsync serve oci:/srv/mirror"),
        Example(
            "On a free port, and accept pushes",
            "mirrorsync serve --writable --listen 127.0.0.1:0 oci:/srv/mirror",
        ),
    ],
)
@click.argument("store", metavar="oci:DIRECTORY", shell_complete=complete_layout)
@click.option(
    "--listen", default="127.0.0.1:5000", show_default=True, metavar="HOST:PORT", help="Port 0: any free port."
)
@click.option("--writable/--read-only", default=False, show_default=True, help="Accept or reject pushes and deletes.")
@verb
def command(console: Console, store: str, listen: str, writable: bool) -> None:
    """Serve the OCI layout in DIRECTORY as a registry, until SIGINT or SIGTERM.

    It has no passwords and no TLS. Listen on an address other than loopback only if everyone there may read the images,
    and use --writable there only behind a proxy that authenticates.
    """
    host, port = _address(listen)
    location = parse_destination(store, str(absolute(".")))
    if location.repository:
        raise UsageError(f"{store} names a repository", remedy=f"serve the whole layout: {location.store}")

    async def work(*, environment: Environment, stop: Stop) -> None:
        async with serving_layout(location, host, port, writable=writable, environment=environment) as actual:
            shown = f"[{host}]" if ":" in host else host
            document = serving_document(shown, actual)
            mode = "writable" if writable else "read-only"
            console.result(lambda: document, f"serving {location.store} ({mode}) at http://{shown}:{actual}")
            await stop.wait()

    run(console, work, stop=Stop(lambda _: None), ready=True)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{text!r} is not HOST:PORT", remedy="write it as 127.0.0.1:5000 or [::1]:5000")
    return host.removeprefix("[").removesuffix("]"), int(port)
