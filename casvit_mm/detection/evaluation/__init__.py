"""How a detector is evaluated: metric, analysis of errors, tables, and pictures."""
