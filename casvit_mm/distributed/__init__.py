"""Several processes: their group, work of one rank, and that none of them runs on alone."""
