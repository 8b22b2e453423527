"""The evaluation report of a network: figures and a page."""
