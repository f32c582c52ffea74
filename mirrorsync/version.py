"""The version of mirrorsync, in one place: the package, `--version`, plans and the User-Agent read it here."""

__version__ = "0.1.0"
