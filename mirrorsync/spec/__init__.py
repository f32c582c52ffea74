"""What the operator wants: the model of mirror.yaml, its loader, and its tag filters. Pure."""
