"""What is done with one image or repository."""
