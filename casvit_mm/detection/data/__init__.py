"""A custom dataset of boxes and masks: described, checked, fixed, prepared, put into a config."""
