"""Predictions as labels in the formats that labelling tools import."""
