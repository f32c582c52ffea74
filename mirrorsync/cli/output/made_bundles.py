"""Bundles that were made, as text."""

from __future__ import annotations

from functools import partial

from rich import filesize

from mirrorsync.app.bundle.creating import Bundled, Wanted, plan_bundle
from mirrorsync.cli.options.bundle import BundleChoice
from mirrorsync.cli.output.console import Console
from mirrorsync.cli.output.render import count
from mirrorsync.cli.sessions import run
from mirrorsync.documents.bundle_creation import bundle_creation_document
from mirrorsync.spec.model import Spec
from mirrorsync.sync.run.report import exit_code
from mirrorsync.text import printable


def bundle_summary(done: Bundled, output: str) -> str:
    """Return the bundle and its size; that there was nothing to carry. output: the directory, "" if it is a plan."""
    bundle = done.bundle
    failed = f", {len(done.plan.failures)} failed" if done.plan.failures else ""
    if bundle is None:
        if failed and not done.plan.changes:
            return f"nothing to carry{failed}"
        return f"nothing to carry: the far side has all {'other ' if failed else ''}images{failed}"
    written = sum(name.endswith(".tar") for name in done.files)
    if not done.plan.changes and written:
        return f"{bundle.stem} in {printable(output)}: {count(written, 'part')} of {len(bundle.parts)}, as before"
    size = filesize.decimal(sum(part.body for part in bundle.parts))
    changed = count(sum(1 for _ in done.plan.changed()), "image")
    carried = f"{count(len(bundle.objects), 'object')} for {changed}, {size} in {count(len(bundle.parts), 'part')}"
    saved = f"; {count(len(bundle.deltas), 'delta')} {'saves' if len(bundle.deltas) == 1 else 'save'} "
    carried += f"{saved}{filesize.decimal(bundle.bytes_saved)}" if bundle.deltas else ""
    carried += " before deltas" if not output and bundle.have else ""  # a plan reads no layers, and makes none
    where = "" if output in ("", "-") else f" in {printable(output)}"
    return f"{bundle.stem}{where}: {carried}{failed}"


def planned_bundle(console: Console, choice: BundleChoice, spec: Spec, only: tuple[str, ...]) -> int:
    """Show what `bundle create` would write; return the exit code."""
    wanted = Wanted(spec, choice.have, only, choice.part_size, None, choice.destination)
    done = run(console, partial(plan_bundle, wanted))
    console.failed(done.plan.failures, done.plan.spec)
    text = "" if console.level < 0 and not done.plan.failures else bundle_summary(done, "")
    console.result(partial(bundle_creation_document, done.plan, done.bundle, ()), text)
    return exit_code(done.plan.failures, landed=bool(done.plan.changes))
