"""Places that hold images; all image I/O is here. `base` has the protocols, the others implement them."""
