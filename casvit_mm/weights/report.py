"""What a file of weights held, compared with a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rich import box
from rich.table import Table

from casvit_mm.errors import first_names
from casvit_mm.plotting.tables import LiteralConsole

__all__ = ['LoadReport', 'modules_of']


@dataclass(frozen=True)
class LoadReport:
    """What a file held, compared with a model. Printed, it is a short table.

    Attributes:
        matched: Our keys that took a value from the file.
        kept: Our keys that the file does not hold and need not hold; they keep their values.
        dropped: Keys of the file that the model has no place for, by a named rule.
        reasons: By key, why it was kept or dropped.
        stripped: What wrappers were taken off the names in the file; empty if none.
    """

    matched: list[str]
    kept: list[str]
    dropped: list[str]
    reasons: dict[str, str] = field(default_factory=dict)
    stripped: str = ''

    @property
    def summary(self) -> str:
        """The report as one line for a log."""
        text = f'{len(self.matched)} keys matched'
        if self.kept:
            text += f', {len(self.kept)} kept at their initial value ({modules_of(self.kept)})'
        if self.dropped:
            text += f', {len(self.dropped)} of the file not needed ({modules_of(self.dropped)})'
        return f'{text}; {self.stripped}' if self.stripped else text

    def table(self) -> Table:
        """Return a row for the matched keys, and one for each reason of an exception."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column('keys')
        table.add_column('number', justify='right')
        table.add_column('which, and why', overflow='fold')
        table.add_row('matched', str(len(self.matched)), modules_of(self.matched, depth=1))
        if self.stripped:
            table.add_row('stripped', '', self.stripped)
        for name, keys in (('missing, kept', self.kept), ('unexpected, dropped', self.dropped)):
            for reason, group in _grouped(keys, self.reasons).items():
                table.add_row(name, str(len(group)), f'{modules_of(group)}: {reason}')
            if not keys:
                table.add_row(name.partition(',')[0], '0', '')
        return table

    def __str__(self) -> str:
        console = LiteralConsole(width=100)
        with console.capture() as captured:
            console.print(self.table())
        return '\n'.join(line.rstrip() for line in captured.get().rstrip().splitlines())


def modules_of(keys: Iterable[str], limit: int = 4, depth: int = 9) -> str:
    """Return the modules that ``keys`` belong to, as deep as ``limit`` of them tell all.

    Args:
        keys: Names of tensors.
        limit: How many modules to name at most.
        depth: How many parts of a name to give at most.
    """
    parts = [key.split('.')[:-1] or [key] for key in keys]
    for parts_given in range(depth, 0, -1):
        modules = list(dict.fromkeys('.'.join(names[:parts_given]) for names in parts))
        if len(modules) <= limit:
            break
    return first_names(modules, limit)


def _grouped(keys: list[str], reasons: Mapping[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(reasons[key], []).append(key)
    return groups
