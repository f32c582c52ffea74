"""Tar archives: scanned, read in place and written."""
