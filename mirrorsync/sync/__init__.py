"""The engine: resolve the wanted images, observe the destinations, apply the difference, transfer, verify."""
