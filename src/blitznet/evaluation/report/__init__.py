"""What is left to look at when a network has been measured: pictures and a page."""
