"""What a segmentor says of an image, and pictures of it."""
