"""Validates a dataset before training."""
