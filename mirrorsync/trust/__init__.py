"""What proves that an image is the publisher's: signatures and public keys as values. Pure."""
