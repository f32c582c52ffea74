"""Registries: the OCI distribution API 1.1 as a client, over two HTTP engines."""
