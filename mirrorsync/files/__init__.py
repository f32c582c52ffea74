"""Bytes on disk: durable writes, locks, verification, gzip, tar. Knows no store."""
