"""One module per annotation format; each reads it into COCO content."""
