"""How a classifier is evaluated: metric, analysis of errors, tables."""
