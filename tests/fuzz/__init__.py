"""Fuzzing of what reads the files of users: ``PYTHONPATH=tests python -m fuzz``."""
