"""Gather the facts for a plan: the wanted images, and the content of the destinations."""
