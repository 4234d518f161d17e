"""What is done with published weights: download, convert, publish, and the pages that list them."""
