"""The report on a network: figures and a page."""
