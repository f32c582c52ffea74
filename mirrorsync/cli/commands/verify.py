"""`mirrorsync verify`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mirrorsync.app.bundle.site import policies_at
from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import read_scope
from mirrorsync.app.specs import load_spec
from mirrorsync.app.verifying import signed_by, verify_location, verify_spec
from mirrorsync.cli.command import Example, VerbCommand
from mirrorsync.cli.completers import complete_file
from mirrorsync.cli.options.access import AccessOptions, access_options, environment_of, retry_option
from mirrorsync.cli.options.selection import only_option
from mirrorsync.cli.output.console import Console, verb
from mirrorsync.cli.output.verification import findings_text, remedy, verification_summary
from mirrorsync.cli.sessions import DEFAULT_SPEC, run
from mirrorsync.documents.verification import verification_document
from mirrorsync.errors import ExitCode, UsageError
from mirrorsync.spec.model import Spec
from mirrorsync.sync.verify.model import Verification
from mirrorsync.text import printable

R = TypeVar("R")

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


@dataclass(frozen=True, slots=True)
class _Signers:
    """The options that say what has to have signed images. trust: whether that is asked at all."""

    trust: bool
    keys: tuple[str, ...]
    identities: tuple[str, ...]
    issuer: str | None
    trusted_root: str | None

    @property
    def given(self) -> list[str]:
        """The options, without --trust, as they are written."""
        values = {
            "--key": self.keys,
            "--identity": self.identities,
            "--issuer": self.issuer,
            "--trusted-root": self.trusted_root,
        }
        return [name for name, value in values.items() if value]


def _signer_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add the options of `_Signers`; the function gets them as `signers`."""

    @wraps(function)
    def with_signers(
        *args: Any,
        trust: bool,
        key: tuple[str, ...],
        identity: tuple[str, ...],
        issuer: str | None,
        trusted_root: str | None,
        **others: Any,
    ) -> R:
        return function(*args, signers=_Signers(trust, key, identity, issuer, trusted_root), **others)

    root = "The file with the authorities and logs that prove identities."
    file: dict[str, Any] = {"metavar": "FILE", "shell_complete": complete_file}
    for option in (
        click.option("--trusted-root", help=root, **file),
        click.option("--issuer", metavar="URL", help="The service that vouches for the identities."),
        click.option("--identity", multiple=True, metavar="GLOB", help="An identity that signs, keyless. Repeatable."),
        click.option("--key", multiple=True, help="A public key that signs. Repeatable: one is enough.", **file),
        click.option("--trust", is_flag=True, help="Verify the signatures, too, and ask no source."),
    ):
        with_signers = option(with_signers)
    return with_signers


@click.command(
    cls=VerbCommand,
    examples=[
        Example("Check every destination of mirror.yaml", "mirrorsync verify"),
        Example("Read and hash everything in a directory; no spec is needed", "mirrorsync verify oci:/srv/mirror"),
        Example(
            "Read a tenth of the blobs of one repository's mirrors",
            "mirrorsync verify --sample 10% --only '*/library/alpine'",
        ),
        Example(
            "Prove what is in a directory, with a key and without a network",
            "mirrorsync verify --trust --key site.pub oci:/srv/mirror",
        ),
    ],
)
@click.argument("spec_or_location", default=DEFAULT_SPEC, metavar="[SPEC|LOCATION]", shell_complete=complete_file)
@only_option
@click.option("--fast", is_flag=True, help="Read no blobs: check only presence and size.")
@click.option("--content", is_flag=True, help="Read every blob, also those of registries.")
@click.option("--sample", type=_Percent(), metavar="N%", help="Read a random N% of all blobs, also of registries.")
@click.option("--seed", type=click.IntRange(0), metavar="NUMBER", help="Repeat the sample with this number.")
@_signer_options
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
    signers: _Signers,
    access: AccessOptions,
    retry_times: int | None,
) -> int:
    """Check every blob and manifest at the destinations of SPEC (mirror.yaml), or at any LOCATION.

    LOCATION is oci:DIR, oci-archive:FILE, docker-archive:FILE, dir:DIR, one image of them, HOST/REPOSITORY,
    HOST/REPOSITORY:TAG, or HOST/PREFIX/ if the registry lists its repositories. It needs no spec and no source.
    On this machine all content that an image needs is read and hashed; of a registry, manifests are, and blobs are
    only asked for, unless --content or --sample reads them. Content that no image needs is not read.

    --trust verifies the signatures that are there, too: those of a spec as its verify: says, those of a LOCATION with
    --key, or with --identity, --issuer and --trusted-root, or else as the policies say that came with the last bundle.
    No source is asked then, so that nothing is behind.

    Exits with 0 if all is complete, 1 if something is missing or behind its source, 3 if something could not be
    checked or is not proven, 4 if content is damaged. `mirrorsync apply --deep` repairs what is missing or damaged.
    """
    if fast + content + (sample is not None) > 1:
        raise UsageError("--fast, --content and --sample contradict each other", remedy="choose one of them")
    depth: dict[str, Any] = {"content": False if fast else True if content else None, "sample": sample, "seed": seed}
    what = spec_or_location
    scope = read_scope(what)
    if signers.given and not signers.trust:
        raise UsageError(f"{', '.join(signers.given)}: no effect without --trust", remedy="add --trust")
    if scope is None:
        _reject([one for one in access.given() if one != _DAEMON], "a spec", "set it in the spec, under registries:")
        _reject(signers.given, "a spec", "write it in the spec, under verify:")
        environment = process_environment(retries=retry_times, daemon_host=access.daemon_host)
        verify = partial(verify_spec, _spec(what), only=only, trust=signers.trust, **depth)
        return _report(console, run(console, verify, environment), what)
    _reject(["--only"] * bool(only), "a location", "name a repository or an image of it instead")
    environment = environment_of(console, [(scope.location, access)], retry_times)
    if signers.trust:
        travelled = None if signers.given else policies_at(scope, environment=environment)
        depth["signed_by"] = travelled or signed_by(
            signers.keys, signers.identities, signers.issuer, signers.trusted_root
        )
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
