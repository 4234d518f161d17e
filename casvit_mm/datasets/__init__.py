"""What the datasets of every task share: description, files, images, splits, issues, reports."""
