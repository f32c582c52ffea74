"""`mirrorsync serve`."""

from __future__ import annotations

import click

from mirrorsync.app.history import read_generation
from mirrorsync.app.reading import absolute
from mirrorsync.app.serving import serving_layout
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file, complete_layout
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
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
        Example("As it was after an earlier run", "mirrorsync serve oci:/srv/mirror --generation 1"),
    ],
)
@click.argument("store", metavar="oci:DIRECTORY", shell_complete=complete_layout)
@click.option(
    "--listen", default="127.0.0.1:5000", show_default=True, metavar="HOST:PORT", help="Port 0: any free port."
)
@click.option("--writable/--read-only", default=False, show_default=True, help="Accept or reject pushes and deletes.")
@click.option(
    "--generation", type=click.IntRange(1), metavar="N", help="Show only the images of generation N of --spec."
)
@click.option("--spec", metavar="SPEC", help="Whose generation (mirror.yaml).", shell_complete=complete_file)
@verb
def command(
    console: Console, store: str, listen: str, writable: bool, generation: int | None, spec: str | None
) -> None:
    """Serve the OCI layout in DIRECTORY as a registry, until SIGINT or SIGTERM.

    It has no passwords and no TLS. Listen on an address other than loopback only if everyone there may read the images,
    and use --writable there only behind a proxy that authenticates.

    With --generation (`mirrorsync history` numbers them), each tag names what it named then. An image that the layout
    does not have any more is not found, and is named at the start.
    """
    host, port = _address(listen)
    location = parse_destination(store, str(absolute(".")))
    if location.repository:
        raise UsageError(f"{store} names a repository", remedy=f"serve the whole layout: {location.store}")
    if writable and generation is not None:
        raise UsageError("a generation cannot be changed", remedy="leave out --writable or --generation")
    if spec is not None and generation is None:
        raise UsageError("--spec has no effect without --generation", remedy="add --generation N")
    shown = None if generation is None else read_generation(load_spec(spec or DEFAULT_SPEC), generation)

    async def work(*, environment: Environment, stop: Stop) -> None:
        async with serving_layout(
            location, host, port, writable=writable, environment=environment, generation=shown
        ) as actual:
            name = f"[{host}]" if ":" in host else host
            document = serving_document(name, actual, generation)
            mode = "writable" if writable else "read-only"
            mode = mode if generation is None else f"generation {generation}, {mode}"
            console.result(lambda: document, f"serving {location.store} ({mode}) at http://{name}:{actual}")
            await stop.wait()

    run(console, work, stop=Stop(lambda _: None), ready=True)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{text!r} is not HOST:PORT", remedy="write it as 127.0.0.1:5000 or [::1]:5000")
    return host.removeprefix("[").removesuffix("]"), int(port)
