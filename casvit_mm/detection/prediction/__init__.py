"""What a detector says of an image."""
