"""Read untrusted files within limits, and write files atomically."""
