"""Floor 3: the OCI distribution API over any store, as a server."""
