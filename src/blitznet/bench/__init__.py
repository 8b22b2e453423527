"""Measurements side by side, in one run: what the tables in docs/bench_*.md come from."""
