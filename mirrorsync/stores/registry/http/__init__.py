"""The HTTP that registries speak: connections, login, retries, answers. Knows no repository."""
