"""Configs: where they are, how they are read, checked and edited, and the model they describe."""
