"""What a format is, and what of a model it can hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from casvit_mm.deploy.engines import Engine
from casvit_mm.deploy.spec import Spec
from casvit_mm.errors import InputError
from casvit_mm.export.graphs import Graph

__all__ = ['Format']


@dataclass(frozen=True)
class Format:
    """A format of files, and how to write it.

    Attributes:
        name: As ``--format`` takes it.
        suffix: With which the name of its file ends.
        write: Writes a graph to a path, given an example of its input and the spec.
        precisions: Those in which it can be written.
        packages: Packages that it needs beside torch.
        engine: Runs its files here, to compare them; None where nothing on this machine can.
        extra: Extra of this package that installs ``packages``.
        beside: Endings of the files that belong to it, in the place of ``suffix``.
        quantize: Turns a float32 file into an int8 one in place, given inputs to calibrate on.
        write_int8: Writes a graph in int8, given inputs to calibrate on; for formats that quantise
            the graph and not a file. With neither, ``write`` stores the weights in eight bits.
        quantize_packages: Packages that this needs as well.
        casts: Whether the networks of the graph are cast to the precision; other formats convert
            a float32 graph themselves.
        chooses: Whether its files can choose objects; else ``casvit_mm.deploy`` does.
        no_open_sizes: Why the sizes of the input cannot be left open; empty if they can.
        no_detectors: Why no detector can be held here; empty if some can.
        no_regions: Why a detector of two stages cannot be held; empty if it can.
        no_int8: Why it cannot be written in int8, where others can; empty if it can.
        single_rows: Whether, with open sizes, a map of the network may have one row or column.
    """

    name: str
    suffix: str
    write: Callable[[Graph, Tensor, Spec, Path], None]
    precisions: tuple[str, ...]
    packages: tuple[str, ...]
    engine: type[Engine] | None
    extra: str = 'export'
    beside: tuple[str, ...] = ()
    quantize: Callable[[Path, Sequence[np.ndarray]], None] | None = None
    write_int8: Callable[[Graph, Sequence[np.ndarray], Spec, Path], None] | None = None
    quantize_packages: tuple[str, ...] = ()
    casts: bool = False
    chooses: bool = True
    no_open_sizes: str = ''
    no_detectors: str = ''
    no_regions: str = ''
    no_int8: str = ''
    single_rows: bool = True

    @property
    def calibrates(self) -> bool:
        """Whether int8 takes ranges of values from images."""
        return self.quantize is not None or self.write_int8 is not None

    def needs(self, precision: str) -> tuple[str, ...]:
        """Return the packages that writing in a precision needs."""
        return self.packages + (self.quantize_packages if precision == 'int8' else ())

    def files(self, path: Path) -> list[Path]:
        """Return the files that are written for ``path``, itself last."""
        stem = path.name.removesuffix(self.suffix)
        return [*(path.with_name(stem + ending) for ending in self.beside), path]

    def refuse(self, spec: Spec, two_stages: bool) -> None:
        """Refuse a model that the format cannot express.

        Raises:
            InputError: With the reason and what can be done instead.
        """
        if spec.task == 'detection' and self.no_detectors:
            raise InputError(f'{self.no_detectors}. Take --format onnx, or --backbone')
        if two_stages and self.no_regions:
            raise InputError(
                f'{self.no_regions}, which Mask R-CNN and Faster R-CNN read. Take --format onnx, '
                'or a detector of one stage, such as RetinaNet or RTMDet-Ins'
            )
        if spec.size is None and self.no_open_sizes:
            raise InputError(f'{self.no_open_sizes}: name it, as in --size 640x480')
