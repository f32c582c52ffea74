"""Tests of mirrorsync.clients."""
