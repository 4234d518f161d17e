"""What a classifier says of an image."""
