"""YAML files that users write, read within bounds: a small file cannot ask for much."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from casvit_mm.errors import InputError

__all__ = ['read_yaml']

_MAX_BYTES = 2**21  # 20,000 class names of ImageNet-21k with all their synonyms take 1 MB
_MAX_VALUES = 200_000  # with every alias counted as what it stands for
_MAX_DEPTH = 20
_MAX_DIGITS = 64
_NUMBERS = {f'tag:yaml.org,2002:{kind}' for kind in ('int', 'float')}
_MERGE = 'tag:yaml.org,2002:merge'


def read_yaml(path: str | Path, where: str) -> Any:
    """Return what a YAML file holds.

    Args:
        path: The file.
        where: What messages call it.

    Raises:
        InputError: If the file cannot be read, is larger than 2 MiB or no YAML, has a key that
            stands twice in one mapping, or a value that is no finite number of 64 bits, no date or
            no text although it looks like one; or if its aliases multiply it beyond bounds.
            Naming the line.
    """
    try:
        with Path(path).open('rb') as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f'{where} cannot be read: {error.strerror}') from error
    if len(text) > _MAX_BYTES:
        raise InputError(
            f'{where} is larger than {_MAX_BYTES >> 20} MiB, more than any description needs. '
            'Name another file.'
        )
    try:
        return yaml.load(text, _BoundedLoader)
    except _RefusedError as error:
        raise InputError(f'{where}, line {error.line}: {error.problem}') from error
    except yaml.YAMLError as error:
        raise InputError(f'{where} is not YAML: {error}') from error


class _RefusedError(yaml.MarkedYAMLError):
    """YAML that is not read although it is well-formed."""

    def __init__(self, problem: str, mark: yaml.Mark) -> None:
        super().__init__(None, None, problem, mark)
        self.line = mark.line + 1


class _BoundedLoader(yaml.SafeLoader):
    """Refuses what takes much time or memory, and a key that stands twice.

    The parent takes the last of such keys without a word.
    """

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._depth = 0
        # Of every node that is read: values in it and its depth, aliases taken for what they are.
        self._extents: dict[yaml.Node, tuple[int, int]] = {}
        self._checked: set[yaml.Node] = set()

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Read one value and all in it."""
        event = self.peek_event()
        mark = event.start_mark
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _RefusedError(f'lists and fields are nested deeper than {_MAX_DEPTH}', mark)
        node = super().compose_node(parent, index)
        assert node is not None
        if not isinstance(event, yaml.AliasEvent):
            self._extents[node] = self._extent(node)
        elif node not in self._extents:
            raise _RefusedError(f'*{event.anchor} stands inside of &{event.anchor} itself', mark)
        size, height = self._extents[node]
        if size > _MAX_VALUES:
            raise _RefusedError(
                f'aliases (*name) multiply what the file holds to {size:,} values or more. Write '
                'the names out',
                mark,
            )
        if self._depth + height - 1 > _MAX_DEPTH:
            raise _RefusedError(f'aliases (*name) nest deeper than {_MAX_DEPTH}', mark)
        self._depth -= 1
        return node

    def _extent(self, node: yaml.Node) -> tuple[int, int]:
        if isinstance(node, yaml.ScalarNode):
            return 1, 1
        inside = node.value
        if isinstance(node, yaml.MappingNode):
            inside = [part for pair in inside for part in pair]
        extents = [self._extents[part] for part in inside]
        return 1 + sum(size for size, _ in extents), 1 + max((h for _, h in extents), default=0)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node."""
        kind = node.tag.rpartition(':')[2]
        written = node.value if isinstance(node, yaml.ScalarNode) else ''
        if node.tag in _NUMBERS and len(written) > _MAX_DIGITS:
            raise _RefusedError(f'a number of {len(written)} characters', node.start_mark)
        try:
            value = super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as error:  # its constructors raise what int, float or datetime raise
            raise _RefusedError(
                f'{written[:_MAX_DIGITS]!r} is no {kind}, as which YAML reads it. Put it in '
                'quotation marks if it is text',
                node.start_mark,
            ) from error
        if (isinstance(value, int) and abs(value) >= 2**63) or (
            isinstance(value, float) and not math.isfinite(value)
        ):
            raise _RefusedError(f'{written!r} is no number of 64 bits', node.start_mark)
        if isinstance(value, str) and ('\0' in value or not _is_encodable(value)):
            raise _RefusedError(
                f'{value[:_MAX_DIGITS]!r} has a character that no name can have', node.start_mark
            )
        return value

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put merged keys in the place of ``<<``; those written must differ."""
        if node not in self._checked:
            self._checked.add(node)
            keys: set[Any] = set()
            for key_node, _ in node.value:
                if key_node.tag == _MERGE or not isinstance(key_node, yaml.ScalarNode):
                    continue  # the parent refuses keys that are lists or mappings
                key = self.construct_object(key_node, deep=True)
                if key in keys:
                    raise _RefusedError(f'{key!r} stands twice', key_node.start_mark)
                keys.add(key)
        super().flatten_mapping(node)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True
