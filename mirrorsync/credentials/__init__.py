"""Credentials: find them in the spec and in the files of podman and docker; store and remove logins. The face."""

from mirrorsync.credentials.files import files_read, files_written
from mirrorsync.credentials.finder import CredentialFinder
from mirrorsync.credentials.logins import AuthFile, Kept, first_writable, is_lost_at_reboot

__all__ = [
    "AuthFile",
    "CredentialFinder",
    "Kept",
    "files_read",
    "files_written",
    "first_writable",
    "is_lost_at_reboot",
]
