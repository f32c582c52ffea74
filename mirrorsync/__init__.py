"""A declarative, offline-first mirror synchronizer for container images.

The command line is one interface; this is the other:

    spec = mirrorsync.load_spec("mirror.yaml")
    plan = mirrorsync.make_plan(spec)
    report = mirrorsync.apply_plan(plan, spec)

Every function blocks, also inside a running event loop; `mirrorsync.app` has the same ones as coroutines. They take
`environment` (see `process_environment`: variables, credentials, an observer of `mirrorsync.events`) and `stop`
(`Stop`), and raise MirrorsyncError or one of its subclasses for bad input and for errors of hosts and disks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirrorsync import app, events
    from mirrorsync.app.blocking import (
        apply_plan,
        apply_spec,
        check_login,
        copy_image,
        delete_image,
        inspect_image,
        list_images,
        list_tags,
        make_plan,
        plan_delete,
        read_manifest,
        roll_back,
        verify_location,
        verify_spec,
    )
    from mirrorsync.app.history import read_history
    from mirrorsync.app.logins import find_login, keep_login, remove_login
    from mirrorsync.app.process import process_environment
    from mirrorsync.app.specs import load_plan, load_spec, save_plan
    from mirrorsync.app.stop import Stop
    from mirrorsync.environment import Environment
    from mirrorsync.errors import ExitCode, Interrupted, MirrorsyncError
    from mirrorsync.hosts import Access, Credentials, Endpoint, HostSettings
    from mirrorsync.plan.model import Change, Image, Plan
    from mirrorsync.problems import Problem, SpecError
    from mirrorsync.secret import Secret
    from mirrorsync.spec.model import Spec
    from mirrorsync.sync.run.report import Report
    from mirrorsync.sync.verify.model import Verification
    from mirrorsync.version import __version__

__all__ = [
    "Access",
    "Change",
    "Credentials",
    "Endpoint",
    "Environment",
    "ExitCode",
    "HostSettings",
    "Image",
    "Interrupted",
    "MirrorsyncError",
    "Plan",
    "Problem",
    "Report",
    "Secret",
    "Spec",
    "SpecError",
    "Stop",
    "Verification",
    "__version__",
    "app",
    "apply_plan",
    "apply_spec",
    "check_login",
    "copy_image",
    "delete_image",
    "events",
    "find_login",
    "inspect_image",
    "keep_login",
    "list_images",
    "list_tags",
    "load_plan",
    "load_spec",
    "make_plan",
    "plan_delete",
    "process_environment",
    "read_history",
    "read_manifest",
    "remove_login",
    "roll_back",
    "save_plan",
    "verify_location",
    "verify_spec",
]

# The module of each name. They are imported on first use: `mirrorsync --version` does not need them.
_HOMES = {
    "mirrorsync.app.blocking": (
        "apply_plan", "apply_spec", "check_login", "copy_image", "delete_image", "inspect_image", "list_images",
        "list_tags", "make_plan", "plan_delete", "read_manifest", "roll_back", "verify_location", "verify_spec",
    ),
    "mirrorsync.app.history": ("read_history",),
    "mirrorsync.app.logins": ("find_login", "keep_login", "remove_login"),
    "mirrorsync.app.process": ("process_environment",),
    "mirrorsync.app.specs": ("load_plan", "load_spec", "save_plan"),
    "mirrorsync.app.stop": ("Stop",),
    "mirrorsync.environment": ("Environment",),
    "mirrorsync.errors": ("ExitCode", "Interrupted", "MirrorsyncError"),
    "mirrorsync.hosts": ("Access", "Credentials", "Endpoint", "HostSettings"),
    "mirrorsync.plan.model": ("Change", "Image", "Plan"),
    "mirrorsync.problems": ("Problem", "SpecError"),
    "mirrorsync.secret": ("Secret",),
    "mirrorsync.spec.model": ("Spec",),
    "mirrorsync.sync.run.report": ("Report",),
    "mirrorsync.sync.verify.model": ("Verification",),
    "mirrorsync.version": ("__version__",),
}  # fmt: skip
_MODULES = ("app", "events")


def __getattr__(name: str) -> Any:
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
