"""What a detector finds in images and videos, as Python values, JSON and pictures."""
