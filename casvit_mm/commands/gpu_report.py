"""Measure a GPU step by step within the time there is, as one page.

casvit-mm gpu-report --out work_dirs/gpu                  # all steps: about two hours
casvit-mm gpu-report --out work_dirs/gpu --limit 15       # what matters most, in 15 minutes
casvit-mm gpu-report --out work_dirs/gpu --limit 15       # again: goes on where it was
casvit-mm gpu-report --out work_dirs/gpu --bccd bccd.yaml --dsb2018 dsb2018.yaml
casvit-mm gpu-report --out work_dirs/smoke --smoke        # no GPU: every step, shortened
casvit-mm gpu-report --list

DIR/report.md has the aims, the machine, what each step measured, and what was skipped and why;
report.json the same as data. Each step is a process of its own with a time limit. A finished step
is not repeated unless GPU, driver, torch or commit have changed.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from casvit_mm.console import loading


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the job."""
    parser.add_argument('--out', metavar='DIR', help='folder of the report')
    parser.add_argument('--limit', type=float, metavar='MINUTES', help='for all steps of this call')
    parser.add_argument('--only', nargs='+', metavar='STEP', help='those named, not all')
    parser.add_argument(
        '--bccd', metavar='YAML', help='blood cells, docs/results/detection.md: trains them'
    )
    parser.add_argument('--dsb2018', metavar='YAML', help='nuclei, likewise')
    parser.add_argument('--smoke', action='store_true', help='on the CPU, shortened')
    parser.add_argument('--list', action='store_true', help='only print the steps')


def run(args: Namespace) -> None:
    """Run the steps; exit with status 1 if one has failed."""
    import sys

    from casvit_mm.errors import InputError

    if args.list:
        from casvit_mm.gpu_report.run import list_steps

        list_steps()
        return
    if args.out is None:
        raise InputError('name a folder for the report: --out work_dirs/gpu')
    with loading('GPU report', 'its steps'):
        from casvit_mm.gpu_report.run import Options, report

    data = {name: path for name in ('bccd', 'dsb2018') if (path := getattr(args, name))}
    if report(Options(args.out, args.limit, args.smoke, args.only, data)):
        sys.exit(1)
