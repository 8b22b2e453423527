"""One file that holds a whole network: from the image's pixels to boxes and class logits."""
