"""Bundles: files that carry part of a mirror across an air gap, and the document that describes them. Pure."""
