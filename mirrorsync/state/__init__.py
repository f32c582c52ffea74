"""The memory of a mirror between runs: one SQLite file for each spec. The face of the package."""

from mirrorsync.state.applied import Applied, AppliedBundles, SitePolicy, check_writable
from mirrorsync.state.file import state_path
from mirrorsync.state.imports import PastImport, PastImports
from mirrorsync.state.inventories import TakenInventories
from mirrorsync.state.memory import Memory, open_memory
from mirrorsync.state.records import (
    Absence,
    Backup,
    ByDigest,
    Generation,
    ManifestKey,
    Owned,
    Run,
    RunTag,
    TagKey,
    Told,
)
from mirrorsync.state.transfer import Remembered

__all__ = [
    "Absence",
    "Applied",
    "AppliedBundles",
    "Backup",
    "ByDigest",
    "Generation",
    "ManifestKey",
    "Memory",
    "Owned",
    "PastImport",
    "PastImports",
    "Remembered",
    "Run",
    "RunTag",
    "SitePolicy",
    "TagKey",
    "TakenInventories",
    "Told",
    "check_writable",
    "open_memory",
    "state_path",
]
