"""What scripts for skopeo find here: its options, commands, templates, JSON and exit codes."""
