"""Look at the environment: versions, operators, devices, and the fix for every error.

casvit-mm doctor

Exit status 1 if an error keeps our models from training.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.console import loading


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job: none."""


def run(args: Namespace) -> None:
    """Look, and print what was found."""
    with loading('doctor', 'what is installed'):
        from casvit_mm.doctor import main

    main()
