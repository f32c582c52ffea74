"""Tests of SSH signatures, with the real ssh-keygen."""
