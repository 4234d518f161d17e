"""How a segmentor is evaluated: metric, analysis of errors, tables, and pictures of every image."""
