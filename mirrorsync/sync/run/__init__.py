"""Apply a plan: its steps, the blobs, and the report."""
