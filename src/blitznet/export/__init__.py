"""One file that holds a whole network: from the picture's pixels to boxes and class ids."""
