"""Stores of images: all image I/O. `base` has the protocols, the other modules implement them."""
