"""`mirrorsync serve`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from mirrorsync.app.history import read_generation
from mirrorsync.app.serving import Entrance, Served, Serving, read_served, serving_stores
from mirrorsync.app.specs import load_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file, complete_layout
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.cli.stop import Stop
from mirrorsync.documents.answers import serving_document
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Serve a mirror to this machine, at http://127.0.0.1:5000", "mirrorsync serve oci:/srv/mirror"),
        Example(
            "On a free port, and accept pushes",
            "mirrorsync serve --writable --listen 127.0.0.1:0 oci:/srv/mirror",
        ),
        Example("As it was after an earlier run", "mirrorsync serve oci:/srv/mirror --generation 1"),
        Example(
            "With TLS, to users who log in",
            "mirrorsync serve oci:/srv/mirror --htpasswd users \\\n    --tls-cert site.pem --tls-key site.key",
        ),
    ],
)
@click.argument("stores", metavar="[PREFIX=]oci:DIRECTORY...", nargs=-1, required=True, shell_complete=complete_layout)
@click.option(
    "--listen", default="127.0.0.1:5000", show_default=True, metavar="HOST:PORT", help="Port 0: any free port."
)
@click.option("--writable/--read-only", default=False, show_default=True, help="Accept or reject pushes and deletes.")
@click.option(
    "--tls-cert", metavar="FILE", help="Certificate in PEM format, and its chain.", shell_complete=complete_file
)
@click.option("--tls-key", metavar="FILE", help="Its key in PEM format, not encrypted.", shell_complete=complete_file)
@click.option("--htpasswd", metavar="FILE", help="Users, as `htpasswd -B` writes them.", shell_complete=complete_file)
@click.option("--anonymous-pull", is_flag=True, help="With --htpasswd: reading needs no login.")
@click.option(
    "--generation", type=click.IntRange(1), metavar="N", help="Show only the images of generation N of --spec."
)
@click.option("--spec", metavar="SPEC", help="Whose generation (mirror.yaml).", shell_complete=complete_file)
@verb
def command(
    console: Console,
    stores: Sequence[str],
    listen: str,
    writable: bool,
    tls_cert: str | None,
    tls_key: str | None,
    htpasswd: str | None,
    anonymous_pull: bool,
    generation: int | None,
    spec: str | None,
) -> None:
    """Serve OCI layouts (oci-archive: or bundle: too) as a registry, until SIGINT or SIGTERM.

    Without --htpasswd everyone who can connect may read all images, and with --writable change them; without --tls-cert
    everyone on the network can read what is sent. Listen on other addresses than loopback accordingly. Certificate and
    users are read again when their files change, and at SIGHUP.

    Several stores are shown as one, read-only. If two have the same name for different images, the first store counts.
    PREFIX=oci:DIRECTORY shows the repositories of DIRECTORY under PREFIX/.

    With --generation (`mirrorsync history` numbers them), each tag names what it named then. An image that the layout
    does not have any more is not found, and is named at the start.
    """
    served = [read_served(one) for one in stores]
    entrance = Entrance(
        *_address(listen), writable, _file(tls_cert), _file(tls_key), _file(htpasswd), anonymous_pull=anonymous_pull
    )
    _check(served, entrance, generation, spec)
    shown = None if generation is None else read_generation(load_spec(spec or DEFAULT_SPEC), generation)

    async def work(*, environment: Environment, stop: Stop) -> None:
        async with serving_stores(served, entrance, environment=environment, generation=shown) as server:
            with _reloading(server):
                _announce(console, served, entrance, server.port, generation)
                await stop.wait()

    run(console, work, stop=Stop(lambda _: None), ready=True)


def _check(served: Sequence[Served], entrance: Entrance, generation: int | None, spec: str | None) -> None:
    """Reject options that contradict each other, or have no effect. Raises: UsageError."""
    if (entrance.certificate is None) != (entrance.key is None):
        missing = "--tls-key" if entrance.key is None else "--tls-cert"
        raise UsageError(f"{missing} is missing", remedy="TLS needs both; one file may have certificate and key")
    if entrance.anonymous_pull and entrance.htpasswd is None:
        raise UsageError(
            "--anonymous-pull has no effect without --htpasswd",
            remedy="add --htpasswd FILE: without, no login is needed",
        )
    if entrance.writable and (len(served) > 1 or served[0].prefix):
        raise UsageError(
            "several stores, or one under a prefix, cannot be written",
            remedy="name the one layout that is pushed to, without a prefix, or leave out --writable",
        )
    if entrance.writable and generation is not None:
        raise UsageError("a generation cannot be changed", remedy="leave out --writable or --generation")
    if spec is not None and generation is None:
        raise UsageError("--spec has no effect without --generation", remedy="add --generation N")


def _announce(
    console: Console, served: Sequence[Served], entrance: Entrance, port: int, generation: int | None
) -> None:
    name = f"[{entrance.host}]" if ":" in entrance.host else entrance.host
    tls = entrance.certificate is not None
    mode = "writable" if entrance.writable else "read-only"
    mode = mode if generation is None else f"generation {generation}, {mode}"
    stores = ", ".join(f"{one.prefix}={one.location.store}".lstrip("=") for one in served)
    text = f"serving {stores} ({mode}) at {'https' if tls else 'http'}://{name}:{port}"
    console.result(lambda: serving_document(name, port, generation, tls=tls), text)


@contextmanager
def _reloading(server: Serving) -> Iterator[None]:
    """Read certificate and users again at SIGHUP. A server without them ends at SIGHUP, as other programs do."""
    if server.reload is None:
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, server.reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def _file(path: str | None) -> Path | None:
    return None if path is None else Path(path)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{text!r} is not HOST:PORT", remedy="write it as 127.0.0.1:5000 or [::1]:5000")
    return host.removeprefix("[").removesuffix("]"), int(port)
