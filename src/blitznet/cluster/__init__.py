"""Prediction of very many images on a Ray cluster, to Parquet."""
