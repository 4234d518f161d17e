"""One way to predict: any task, a checkpoint or an exported file, in Python and on files."""
