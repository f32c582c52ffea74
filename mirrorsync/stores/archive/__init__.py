"""Tar archives of images: read by their members and never extracted, written beside their target and then renamed."""
