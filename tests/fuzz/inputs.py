"""Inputs near to sound ones: values put in the place of others, and bytes changed."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

__all__ = ['changed_bytes', 'changed_json', 'changed_value']

_LARGE = 10**9
_NASTY = [
    *(None, True, False, 0, 1, -1, 2, 255, 256, 2**31, 2**63, 2**64, _LARGE, 10**400),
    *(0.5, -0.5, 1e308, -1e308, 1e9, float('nan'), float('inf')),
    *('', ' ', '.', '..', '/', '\0', '\ud800', '\x1b[31m', '[/x]', 'é', '0', '1', '1e9', 'a' * 300),
    *('a/' * 3000, '%s', '{}', 'null', 'yes', '2024-13-45', '../' * 50, '*', '~', '\r\n', '\ufeff'),
    *([], {}, [[]], [None], [0, 0], [_LARGE, _LARGE], {'a': 1}, {'size': [_LARGE] * 2}),
    {'size': [_LARGE, _LARGE], 'counts': [_LARGE**2]},
    {'size': [32, 32], 'counts': 'PPYo0'},
    {'size': [32, 32], 'counts': [1024]},
    [0, 0, _LARGE, 0, _LARGE, _LARGE],
]
_values = st.one_of(
    st.sampled_from(_NASTY).map(copy.deepcopy),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        ),
        max_leaves=8,
    ),
)


def _places(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the paths of all values inside of one."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, part in inside:
        found.append((*path, key))
        if isinstance(part, (dict, list)):
            found += _places(part, (*path, key))
    return found


@st.composite
def changed_value(draw: st.DrawFn, sound: dict) -> Any:
    """Draw a copy of a sound value in which some parts are others, missing, twice or renamed."""
    value = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 4))):
        places = _places(value)
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        parent = value
        for key in path:
            parent = parent[key]
        how = draw(st.sampled_from(['replace', 'replace', 'remove', 'wrap', 'move', 'add']))
        if how == 'replace':
            parent[last] = draw(_values)
        elif how == 'remove':
            del parent[last]
        elif how == 'wrap':
            parent[last] = [parent[last]]
        elif how == 'move':
            source: Any = value
            for key in draw(st.sampled_from(places)):
                source = source[key]
            parent[last] = copy.deepcopy(source)
        elif isinstance(parent, dict):
            parent[draw(st.text(max_size=8))] = draw(_values)
        else:
            parent.insert(last, draw(_values))
    return value


def changed_json(sound: dict) -> st.SearchStrategy[bytes]:
    """Draw JSON near to that of a sound value; sometimes no JSON."""
    text = changed_value(sound).map(lambda value: json.dumps(value).encode())
    return text | changed_bytes(json.dumps(sound).encode())


@st.composite
def changed_bytes(draw: st.DrawFn, sound: bytes) -> bytes:
    """Draw a copy of sound bytes of which some are others, missing, or twice."""
    content = bytearray(sound)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([1, 1, 1, 2, 4, 8, 16, 64, 256]))
        how = draw(st.sampled_from(['flip', 'replace', 'remove', 'insert', 'copy', 'cut']))
        if how == 'flip' and at < len(content):
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif how == 'replace':
            content[at : at + length] = draw(st.binary(min_size=length, max_size=length))
        elif how == 'remove':
            del content[at : at + length]
        elif how == 'insert':
            content[at:at] = draw(st.binary(max_size=length))
        elif how == 'copy':
            start = draw(st.integers(0, len(content)))
            content[at:at] = content[start : start + length]
        elif how == 'cut' and draw(st.booleans()):
            del content[at:]
    return bytes(content)
