"""A whole decoded set on the device that trains, augmented there in batches."""
