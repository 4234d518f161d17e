#!/usr/bin/env python
"""Write a dataset in another format; what that format does not hold is counted.

The job of casvit_mm/commands/convert_data.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('convert_data')
