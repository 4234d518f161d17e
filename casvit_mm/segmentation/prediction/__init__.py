"""Pictures of what a segmentor predicts."""
