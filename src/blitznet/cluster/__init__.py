"""Prediction for very many images: a Ray cluster, Parquet out."""
