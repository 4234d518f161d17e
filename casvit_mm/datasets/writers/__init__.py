"""Labelled images as files that other tools read: one module for each format."""

__all__ = ['FORMATS']

# By these words; here, so that a command line knows them without importing what writes.
FORMATS = ('coco', 'yolo', 'voc', 'labelme', 'cvat', 'label-studio')
