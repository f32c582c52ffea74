"""Verify: what images need, whether it is present, and whether its bytes are right."""
