"""What would hurt a training run, found before it starts."""
