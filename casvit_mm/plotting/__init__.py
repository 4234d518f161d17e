"""What the pictures and tables of every task share: figures, colours, curves, tables."""
