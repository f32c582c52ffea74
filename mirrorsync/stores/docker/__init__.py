"""Docker's own places: archives of `docker save`, and the daemon. They keep configs and layers, and no manifests."""
