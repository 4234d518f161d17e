"""What a GPU does with our models: measured step by step within the time there is, as one page."""
