"""Videos, cameras and streams: frames in, scenes with timestamps out."""
