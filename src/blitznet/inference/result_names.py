"""Name result files after their inputs, in the same folders."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from blitznet.files.plain_names import file_name


class ResultNames:
    """Gives every image and video of a run a unique name without suffix.

    The name is the input's path relative to the deepest common folder: `a` and `day1/b` for
    `trip/a.png` and `trip/day1/b.jpg`. Inputs that differ only in their suffix keep it.

    Args:
        inputs: all inputs that are known.
        folders: folders of the results; names never collide with inputs that lie in one of them.
        taken: names of existing results.
    """

    def __init__(
        self, inputs: Sequence[Path], folders: Sequence[Path], taken: Iterable[str] = ()
    ) -> None:
        self._parents = {path.parent: os.path.abspath(path.parent) for path in inputs}  # noqa: PTH100
        self._root = common_folder(inputs)
        stems = Counter(_key(_stem(self.path_of(path))) for path in inputs)
        self._twins = {stem for stem, number in stems.items() if number > 1}
        self._taken = {_key(name) for name in taken}
        inside = {parent: _below(parent, folders) for parent in self._parents}
        self._taken.update(_key(place / p.stem) for p in inputs for place in inside[p.parent])

    def path_of(self, path: Path) -> PurePath:
        """An input's path relative to the common folder of all inputs."""
        parent = PurePath(self._parents.get(path.parent) or os.path.abspath(path.parent))  # noqa: PTH100
        root = self._root if self._root and parent.is_relative_to(self._root) else parent.anchor
        return parent.relative_to(root) / path.name

    def of(self, path: Path) -> str:
        """Choose the name for an input, see `free`."""
        whole = self.path_of(path)
        stem = _stem(whole)
        return self.free(whole if _key(stem) in self._twins else stem)

    def free(self, wanted: PurePath) -> str:
        """Choose an unused name like `wanted`, ignoring case, with forward slashes."""
        chosen = name = wanted.with_name(file_name(wanted.name))
        number = 1
        while _key(name) in self._taken:
            number += 1
            name = chosen.with_name(f"{chosen.name}-{number}")
        self._taken.add(_key(name))
        return name.as_posix()


def common_folder(inputs: Iterable[Path]) -> str:
    """The deepest folder that contains all inputs, absolute; empty if there is none."""
    try:
        return os.path.commonpath([os.path.abspath(one) for one in {p.parent for p in inputs}])  # noqa: PTH100
    except ValueError:  # several drives, or no inputs
        return ""


def _stem(path: PurePath) -> PurePath:
    return path.with_name(path.stem)


def _key(path: PurePath | str) -> str:
    return PurePath(path).as_posix().casefold()


def _below(parent: Path, folders: Sequence[Path]) -> list[PurePath]:
    """Paths of `parent` relative to each of `folders` that contains it, with links resolved."""
    real = PurePath(os.path.realpath(parent))
    roots = [PurePath(os.path.realpath(folder)) for folder in folders]
    return [real.relative_to(root) for root in roots if real.is_relative_to(root)]
