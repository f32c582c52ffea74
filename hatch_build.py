"""The build hook: it compiles mirrorsync/delta/_deflate.pyx if this machine has a C compiler.

Without one the wheel is pure Python and complete but for deltas: `mirrorsync.delta.available()` says so.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PART = "mirrorsync/delta/_deflate"


class CompiledParts(BuildHookInterface):  # type: ignore[type-arg] # hatchling's base is generic in its configuration
    """Compiles what is slow in Python, next to its source, so that an editable installation finds it, too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 # hatchling's protocol
        """Compile before the files of the wheel are collected, and give the wheel the tag of this Python."""
        if self.target_name != "wheel":
            return
        built = f"{PART}{sysconfig.get_config_var('EXT_SUFFIX')}"
        try:
            compile_part(Path(self.root), Path(self.root, built))
        except Exception as error:  # noqa: BLE001 # whatever is missing (compiler, headers), the rest is complete
            print(f"mirrorsync: built without deltas of layers: {error!r}", file=sys.stderr)  # noqa: T201
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"].append(f"/{built}")


def compile_part(root: Path, built: Path) -> None:
    """Compile PART to the file `built`, unless that is newer than the source.

    Raises: an exception of Cython or setuptools if something is missing.
    """
    source = root / f"{PART}.pyx"
    if built.exists() and built.stat().st_mtime >= source.stat().st_mtime:
        return
    from Cython.Build import cythonize
    from setuptools import Extension
    from setuptools.dist import Distribution

    with tempfile.TemporaryDirectory() as scratch:
        extension = Extension(PART.replace("/", "."), [str(source)], extra_compile_args=["-O2", "-g0"])
        modules = cythonize([extension], build_dir=scratch, quiet=True)
        command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
        command.build_lib = command.build_temp = scratch
        command.ensure_finalized()
        command.run()
        # Complete or not at all: two processes may build at once (tests in parallel).
        made = Path(command.get_ext_fullpath(modules[0].name))
        staged = built.with_name(f".{built.name}.{os.getpid()}")
        staged.write_bytes(made.read_bytes())
        staged.replace(built)
