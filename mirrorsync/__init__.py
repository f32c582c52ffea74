"""A declarative, offline-first mirror synchronizer for container images.

The command line is one way in; this is the other:

    spec = mirrorsync.load_spec("mirror.yaml")
    plan = mirrorsync.make_plan(spec)
    report = mirrorsync.apply_plan(plan, spec)

Every function raises MirrorsyncError, or a subclass that says more, for what the world does wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirrorsync.errors import ExitCode, MirrorsyncError, Problem, SpecError
    from mirrorsync.library import apply_plan, load_plan, load_spec, make_plan, save_plan
    from mirrorsync.plan.model import Change, Image, Plan
    from mirrorsync.spec.model import Spec
    from mirrorsync.sync.run.report import Report
    from mirrorsync.version import __version__

__all__ = [
    "Change",
    "ExitCode",
    "Image",
    "MirrorsyncError",
    "Plan",
    "Problem",
    "Report",
    "Spec",
    "SpecError",
    "__version__",
    "apply_plan",
    "load_plan",
    "load_spec",
    "make_plan",
    "save_plan",
]

# Where each name is. They are imported when they are asked for: `mirrorsync --version` needs none of them.
_HOMES = {
    "mirrorsync.errors": ("ExitCode", "MirrorsyncError", "Problem", "SpecError"),
    "mirrorsync.library": ("apply_plan", "load_plan", "load_spec", "make_plan", "save_plan"),
    "mirrorsync.plan.model": ("Change", "Image", "Plan"),
    "mirrorsync.spec.model": ("Spec",),
    "mirrorsync.sync.run.report": ("Report",),
    "mirrorsync.version": ("__version__",),
}


def __getattr__(name: str) -> Any:
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
