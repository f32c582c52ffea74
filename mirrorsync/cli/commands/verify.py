"""`mirrorsync verify`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import read_scope
from mirrorsync.app.specs import load_spec
from mirrorsync.app.verifying import verify_location, verify_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file, complete_source
from mirrorsync.cli.options.access import AccessOptions, access_options, environment_of, retry_option
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.verification import findings_text, remedy, verification_summary
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.documents.verification import verification_document
from mirrorsync.errors import ExitCode, UsageError
from mirrorsync.spec.model import Spec
from mirrorsync.sync.verify.model import Verification
from mirrorsync.text import printable

_DAEMON: Final = "--daemon-host"
_ARCHIVES: Final = (".tar", ".tar.gz", ".tgz")


class _Percent(click.ParamType[float]):
    """A percentage: `5%` or `0.5%`; the sign can be left out."""

    name = "percentage"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return a number from 0 to 100, without 0."""
        try:
            number = float(str(value).removesuffix("%"))
        except ValueError:
            number = 0.0
        if not 0 < number <= 100:
            self.fail(f"{value!r} is not a percentage; write 5%", param, ctx)
        return number


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Check every destination of mirror.yaml", "mirrorsync verify"),
        Example("Read and hash everything in a directory; no spec is needed", "mirrorsync verify oci:/srv/mirror"),
        Example(
            "Read a tenth of the blobs of one repository's mirrors",
            "mirrorsync verify --sample 10% --only '*/library/alpine'",
        ),
    ],
)
@click.argument("spec_or_location", default=DEFAULT_SPEC, metavar="[SPEC|LOCATION]", shell_complete=complete_file)
@click.option(
    "--only",
    multiple=True,
    metavar="GLOB",
    shell_complete=complete_source,
    help="Only mirrors whose source matches. Repeatable.",
)
@click.option("--fast", is_flag=True, help="Read no blobs: check only presence and size.")
@click.option("--content", is_flag=True, help="Read every blob, also those of registries.")
@click.option("--sample", type=_Percent(), metavar="N%", help="Read a random N% of all blobs, also of registries.")
@click.option("--seed", type=click.IntRange(0), metavar="NUMBER", help="Repeat the sample with this number.")
@access_options()
@retry_option
@verb
def command(
    console: Console,
    spec_or_location: str,
    only: tuple[str, ...],
    fast: bool,
    content: bool,
    sample: float | None,
    seed: int | None,
    access: AccessOptions,
    retry_times: int | None,
) -> int:
    """Check every blob and manifest at the destinations of SPEC (mirror.yaml), or at any LOCATION.

    LOCATION is oci:DIR, oci-archive:FILE, docker-archive:FILE, dir:DIR, one image of them, HOST/REPOSITORY,
    HOST/REPOSITORY:TAG, or HOST/PREFIX/ if the registry lists its repositories. It needs no spec and no source.
    On this machine all content that an image needs is read and hashed; of a registry, manifests are, and blobs are
    only asked for, unless --content or --sample reads them. Content that no image needs is not read.

    Exits with 0 if all is complete, 1 if something is missing or behind its source, 3 if something could not be
    checked, 4 if content is damaged. `mirrorsync apply --deep` repairs what is missing or damaged.
    """
    if fast + content + (sample is not None) > 1:
        raise UsageError("--fast, --content and --sample contradict each other", remedy="choose one of them")
    depth: dict[str, Any] = {"content": False if fast else True if content else None, "sample": sample, "seed": seed}
    what = spec_or_location
    scope = read_scope(what)
    if scope is None:
        _reject([one for one in access.given() if one != _DAEMON], "a spec", "set it in the spec, under registries:")
        environment = process_environment(retries=retry_times, daemon_host=access.daemon_host)
        return _report(console, run(console, partial(verify_spec, _spec(what), only=only, **depth), environment), what)
    _reject(["--only"] * bool(only), "a location", "name a repository or an image of it instead")
    environment = environment_of(console, [(scope.location, access)], retry_times)
    return _report(console, run(console, partial(verify_location, scope, **depth), environment), "")


def _spec(path: str) -> Spec:
    if Path(path).is_dir():
        raise UsageError(f"{printable(path)} is a directory", remedy=f"a layout is written as oci:{printable(path)}")
    if path.endswith(_ARCHIVES):
        raise UsageError(
            f"{printable(path)} is not a spec",
            remedy="an archive is written as oci-archive:FILE or docker-archive:FILE",
        )
    try:
        return load_spec(path)
    except UsageError as error:
        raise error.with_(remedy=f"{error.remedy}; write a location as HOST/REPOSITORY or oci:DIR") from error.__cause__


def _reject(options: list[str], what: str, instead: str) -> None:
    if options:
        raise UsageError(f"{', '.join(options)}: not possible with {what}", remedy=instead)


def _report(console: Console, found: Verification, spec: str) -> int:
    quiet = console.level < 0 and found.exit_code == ExitCode.DONE
    text = findings_text(found, whole=console.level > 0)
    console.failed(found.failures, found.spec)
    console.result(lambda: verification_document(found), text, "" if quiet else verification_summary(found))
    if advice := remedy(found, spec):
        console.notice(advice)
    return found.exit_code
