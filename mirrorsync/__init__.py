"""A declarative, offline-first mirror synchronizer for container images."""
