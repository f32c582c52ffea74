"""Verbs on one image or repository: inspect, list tags, delete."""
