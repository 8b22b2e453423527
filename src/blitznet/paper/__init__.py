"""The paper's tables: one experiment per row, and our results beside the paper's."""
