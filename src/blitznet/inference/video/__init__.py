"""Videos, cameras and streams: frames in, scenes with time stamps out."""
