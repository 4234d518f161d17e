#!/usr/bin/env python
"""Write a model for another engine, and compare the file with PyTorch before it is kept.

The job of casvit_mm/commands/export.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('export')
