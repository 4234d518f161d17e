"""A custom dataset of image folders: described, checked, prepared, put into a config."""
