"""Parity: files from which missing and damaged parts of others are computed, as in docs/bundle-parity.md."""
