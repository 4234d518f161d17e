#!/usr/bin/env python
"""Publish a checkpoint's weights: a slim file without training state, named after its content.

The job of casvit_mm/commands/publish_weights.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('publish_weights')
