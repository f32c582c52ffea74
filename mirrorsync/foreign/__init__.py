"""Specs of other tools, manifests and image lists, as the beginning of a spec of ours. Pure."""
