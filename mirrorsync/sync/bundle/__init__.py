"""Bundles made from the images of a spec, and inventories of what a location has."""
