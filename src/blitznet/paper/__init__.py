"""The paper's experiments: a constant a table row, what was measured, and both side by side."""
