"""Videos, cameras and folders that fill: frames in, scenes with time stamps out."""
