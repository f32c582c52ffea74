"""Bundles: made from the images of a spec, and planned at the isolated side; inventories of what a location has."""
