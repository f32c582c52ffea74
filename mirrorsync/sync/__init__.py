"""The engine: resolve what is wanted, observe what is there, apply the difference, transfer, verify."""
