#!/usr/bin/env python
"""Measure a GPU step by step within the time there is, as one page.

The job of casvit_mm/commands/gpu_report.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('gpu_report')
