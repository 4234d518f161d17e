#!/usr/bin/env python
"""Serve a model of any task over HTTP, with a page to try it on.

The job of casvit_mm/commands/serve.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('serve')
