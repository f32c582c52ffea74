"""Both sides of an air gap: bundles and inventories are made, signed, read and imported."""
