"""A plan carried out: steps, blobs and the report."""
