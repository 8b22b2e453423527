"""Export a network to one file: image pixels in, boxes and segmentation logits out."""
