"""What a report says of the aims: met, missed or not measured, each with its figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from casvit_mm.gpu_report.plan import AIMED_INFERENCE, AIMED_TRAINING, BASELINE, RECIPES

__all__ = ['Verdict', 'verdicts']

_ROOM = 0.5  # of what the limits allow; below, a fused kernel could gain more than twice
_SPREAD = 0.01  # of AP; the results page has one run of each recipe


@dataclass(frozen=True)
class Verdict:
    """One aim.

    Attributes:
        aim: What was aimed at.
        found: What was measured.
        met: Whether it was reached; None if it was not measured.
    """

    aim: str
    found: str
    met: bool | None

    @property
    def word(self) -> str:
        """``'met'``, ``'missed'`` or ``'not measured'``."""
        return {True: 'met', False: 'missed', None: 'not measured'}[self.met]


def verdicts(results: dict[str, dict[str, Any]]) -> list[Verdict]:
    """Return what the results say of each aim.

    Args:
        results: Of the steps that are done, by name.
    """
    found = [_tests(results.get('tests'))]
    for model in ('xs', 't'):
        aim = f'CAS-ViT-{model.upper()}: inference, {AIMED_INFERENCE:g} times {BASELINE}, batch 256'
        found.append(_speed(aim, results.get(f'inference-{model}-256'), AIMED_INFERENCE))
    for step, model in (('train-classifier', 'XS'), ('train-classifier-t', 'T')):
        aim = f'CAS-ViT-{model}: training step, {AIMED_TRAINING:g} times {BASELINE}'
        found.append(_speed(aim, results.get(step), AIMED_TRAINING))
    for model in ('xs', 't'):
        found.append(_roofline(model, results.get(f'roofline-{model}')))
    for name in RECIPES:
        found += _figures(name, results.get(f'train-{name}'))
    return found


def _tests(result: dict[str, Any] | None) -> Verdict:
    aim = 'every test that needs a GPU passes'
    outcomes = [test['outcome'] for test in (result or {}).get('tests', ())]
    if not outcomes:
        return Verdict(aim, '-', None)
    counts = {word: outcomes.count(word) for word in ('passed', 'failed', 'skipped')}
    text = ', '.join(f'{number} {word}' for word, number in counts.items())
    return Verdict(aim, text, counts['passed'] > 0 and not counts['failed'])


def _speed(aim: str, result: dict[str, Any] | None, wanted: float) -> Verdict:
    """Judge the fastest form; a smaller batch than 256 is named."""
    rows = [row for row in (result or {}).get('rows', ()) if row['than'].endswith(f' {BASELINE}')]
    others = [row for row in rows if row['form'] != BASELINE]
    if not others:
        return Verdict(aim, '-', None)
    best = max(others, key=lambda row: row['faster']['median'])
    faster = best['faster']
    text = f'{faster["median"]:.2f} ({faster["q1"]:.2f} to {faster["q3"]:.2f}), {best["form"]}'
    return Verdict(aim, f'{text}, batch {best["batch"]}', faster['median'] >= wanted)


def _roofline(model: str, result: dict[str, Any] | None) -> Verdict:
    aim = f'CAS-ViT-{model.upper()}: compiled token mixers reach {_ROOM:.0%} of the limits'
    compiled = [one for one in (result or {}).get('rooflines', ()) if 'compile' in one['form']]
    if not compiled:
        return Verdict(aim, '-', None)
    reached = {row['name']: reach(row) for row in compiled[-1]['mixers']}
    text = ', '.join(
        f'{name.removeprefix("a mixer of ")} {value:.0%}' for name, value in reached.items()
    )
    return Verdict(aim, text, min(reached.values()) >= _ROOM)


def reach(row: dict[str, Any]) -> float:
    """Return what a piece reaches of the nearer of its two limits, bandwidth and arithmetic."""
    return max(row['of_bandwidth'], row['of_peak'])


def _figures(name: str, result: dict[str, Any] | None) -> Sequence[Verdict]:
    found = []
    measured = {row['metric']: row['measured'] for row in (result or {}).get('rows', ())}
    for metric, published in RECIPES[name].figures.items():
        aim = f'{name}, {metric}: the {published:.3f} of the results page with --amp'
        value = measured.get(metric)
        if value is None:
            found.append(Verdict(aim, '-', None))
        else:
            found.append(Verdict(aim, f'{value:.3f}', value >= published - _SPREAD))
    return found
