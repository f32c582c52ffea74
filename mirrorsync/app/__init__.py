"""Every operation of mirrorsync, as a coroutine; the face for the command line and for `import mirrorsync`.

    plan = await app.make_plan(app.load_spec("mirror.yaml"))

Functions that read specs, plans and logins use no network, and block. `mirrorsync` has the same names, all blocking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirrorsync.app.history import read_history
    from mirrorsync.app.images import delete_image, inspect_image, list_tags, plan_delete, read_manifest
    from mirrorsync.app.logins import check_login, find_login, keep_login, remove_login
    from mirrorsync.app.process import process_environment
    from mirrorsync.app.rollback import roll_back
    from mirrorsync.app.runs import apply_plan, apply_spec, copy_image, list_images, make_plan
    from mirrorsync.app.specs import load_plan, load_spec, save_plan
    from mirrorsync.app.stop import Stop
    from mirrorsync.app.verifying import verify_location, verify_spec

__all__ = [
    "Stop",
    "apply_plan",
    "apply_spec",
    "check_login",
    "copy_image",
    "delete_image",
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

# The module of each name, imported on first use. The command line imports from these modules directly.
_HOMES = {
    "mirrorsync.app.history": ("read_history",),
    "mirrorsync.app.images": ("delete_image", "inspect_image", "list_tags", "plan_delete", "read_manifest"),
    "mirrorsync.app.logins": ("check_login", "find_login", "keep_login", "remove_login"),
    "mirrorsync.app.process": ("process_environment",),
    "mirrorsync.app.rollback": ("roll_back",),
    "mirrorsync.app.runs": ("apply_plan", "apply_spec", "copy_image", "list_images", "make_plan"),
    "mirrorsync.app.specs": ("load_plan", "load_spec", "save_plan"),
    "mirrorsync.app.stop": ("Stop",),
    "mirrorsync.app.verifying": ("verify_location", "verify_spec"),
}


def __getattr__(name: str) -> Any:
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
