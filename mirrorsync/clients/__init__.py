"""The configuration that makes clients (containerd, podman, clusters) pull from a destination. Pure."""
