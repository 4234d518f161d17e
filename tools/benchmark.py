#!/usr/bin/env python
"""Time models side by side: latency, throughput, parameters, multiply-adds.

The job of casvit_mm/commands/benchmark.py; --help tells its options.
"""

from casvit_mm.commands import main

if __name__ == '__main__':
    main('benchmark')
