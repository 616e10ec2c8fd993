"""Published weights to our checkpoint folder and back, one tensor at a time."""
