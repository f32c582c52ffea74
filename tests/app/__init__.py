"""Tests of the face that the command line and programs share."""
