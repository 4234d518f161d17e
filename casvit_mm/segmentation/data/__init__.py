"""A custom dataset of segmentation masks: described, checked, prepared, put into a config."""
