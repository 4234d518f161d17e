#!/usr/bin/env python
"""Predict on images, folders, videos and streams, with a model of any task.

The job of casvit_mm/commands/predict.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('predict')
