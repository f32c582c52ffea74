"""The memory of a mirror between runs: one SQLite file for each spec. The face of the package."""

from mirrorsync.state.file import state_path
from mirrorsync.state.memory import Memory, open_memory
from mirrorsync.state.records import Generation, Owned, Run, RunTag, TagKey, Told

__all__ = ["Generation", "Memory", "Owned", "Run", "RunTag", "TagKey", "Told", "open_memory", "state_path"]
