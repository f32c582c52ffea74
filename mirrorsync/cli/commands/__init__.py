"""The verbs, one file each; a file's `command` is its click command."""
