"""What the files of a result are called: as the input, in the folders of the input."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from blitznet.files.plain_names import file_name


class ResultNames:
    """Gives every image and video of a run a name of its own, without suffix.

    It is the input's path below the deepest folder that holds all inputs: of `trip/a.png` and
    `trip/day1/b.jpg`, `a` and `day1/b`. Inputs that differ in nothing but their suffix keep it.

    Args:
        inputs: all that are known.
        folders: of the results: no input that lies in one of them gets its own name.
        taken: names of results that are there already.
    """

    def __init__(
        self, inputs: Sequence[Path], folders: Sequence[Path], taken: Iterable[str] = ()
    ) -> None:
        self._parents = {path.parent: os.path.abspath(path.parent) for path in inputs}  # noqa: PTH100
        try:
            self._root = os.path.commonpath(self._parents.values())
        except ValueError:  # several drives, or no inputs
            self._root = ""
        stems = Counter(_key(_stem(self.path_of(path))) for path in inputs)
        self._twins = {stem for stem, number in stems.items() if number > 1}
        self._taken = {_key(name) for name in taken}
        inside = {parent: _below(parent, folders) for parent in self._parents}
        self._taken.update(_key(place / p.stem) for p in inputs for place in inside[p.parent])

    def path_of(self, path: Path) -> PurePath:
        """An input's path below the folder that holds all of them."""
        parent = PurePath(self._parents.get(path.parent) or os.path.abspath(path.parent))  # noqa: PTH100
        root = self._root if self._root and parent.is_relative_to(self._root) else parent.anchor
        return parent.relative_to(root) / path.name

    def of(self, path: Path) -> str:
        """The name of an input, see `free`."""
        whole = self.path_of(path)
        stem = _stem(whole)
        return self.free(whole if _key(stem) in self._twins else stem)

    def free(self, wanted: PurePath) -> str:
        """A name that was not given out before, whatever its case, with forward slashes."""
        chosen = name = wanted.with_name(file_name(wanted.name))
        number = 1
        while _key(name) in self._taken:
            number += 1
            name = chosen.with_name(f"{chosen.name}-{number}")
        self._taken.add(_key(name))
        return name.as_posix()


def _stem(path: PurePath) -> PurePath:
    return path.with_name(path.stem)


def _key(path: PurePath | str) -> str:
    return PurePath(path).as_posix().casefold()


def _below(parent: Path, folders: Sequence[Path]) -> list[PurePath]:
    """`parent` relative to each of `folders` that contains it, links followed."""
    real = PurePath(os.path.realpath(parent))
    roots = [PurePath(os.path.realpath(folder)) for folder in folders]
    return [real.relative_to(root) for root in roots if real.is_relative_to(root)]
