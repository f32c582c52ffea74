"""OCI image layouts: directories that hold images, as the OCI image spec 1.1 (image-layout.md) describes them."""
