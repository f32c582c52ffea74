"""Pages that are made from the help: docs/verbs.md and the man pages. `python -m tests.pages` writes them."""
