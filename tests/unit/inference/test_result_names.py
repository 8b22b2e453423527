"""Names of results, derived from the paths of the inputs."""

from pathlib import Path, PurePath

import pytest

from blitznet.inference.result_names import ResultNames

OUT = Path("/out")


def names_of(*inputs: str, taken: tuple[str, ...] = ()) -> list[str]:
    paths = [Path(name) for name in inputs]
    names = ResultNames(paths, [OUT, OUT / "masks"], taken)
    return [names.of(path) for path in paths]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["trip/a.jpg"], ["a"]),
        (["/x/trip/a.jpg", "/x/trip/b.v2.png"], ["a", "b.v2"]),
        (["trip/a.jpg", "trip/day1/a.jpg"], ["a", "day1/a"]),
        (["one/a.jpg", "two/a.jpg"], ["one/a", "two/a"]),
        (["t/a.jpg", "t/a.png", "t/b.png", "t/B.gif"], ["a.jpg", "a.png", "b.png", "B.gif"]),
        (["t/a.jpg", "t/a.jpg"], ["a.jpg", "a.jpg-2"]),
        (["trip/../trip/a.jpg"], ["a"]),
        ([".hidden"], ["hidden"]),
        (["t/" + "x" * 255], ["x" * 200]),
        (["t/" + "x" * 250 + ".jpg", "t/" + "x" * 251 + ".png"], ["x" * 200, "x" * 200 + "-2"]),
        (["t/two\nlines.jpg"], ["two-lines"]),
    ],
)
def test_names_are_paths_below_the_folder_that_all_inputs_share(
    inputs: list[str], expected: list[str]
) -> None:
    assert names_of(*inputs) == expected


def test_the_order_of_the_inputs_changes_nothing() -> None:
    inputs = ["t/a.jpg", "t/a.png", "t/in/a.jpg", "t/b.tif"]
    assert sorted(names_of(*inputs)) == sorted(names_of(*reversed(inputs)))


def test_names_that_are_taken_and_inputs_are_not_replaced() -> None:
    assert names_of("t/a.jpg", "t/b.jpg", taken=("A", "in/b")) == ["a-2", "b"]
    assert names_of("/out/a.jpg", "/out/in/b.jpg") == ["a-2", "in/b-2"]
    assert names_of("/out/masks/a.png", "/t/a.jpg") == ["out/masks/a", "t/a"]
    assert names_of("/out/masks/a.png") == ["a-2"]


def test_inputs_that_were_not_known_get_names_as_well() -> None:
    names = ResultNames([Path("/t/inbox/image")], [OUT])
    assert names.of(Path("/t/inbox/a.jpg")) == "a"
    assert names.of(Path("/t/inbox/a.png")) == "a-2"
    assert names.of(Path("/elsewhere/a.png")) == "elsewhere/a"
    assert [names.free(PurePath("10.0.0.5")) for _ in range(2)] == ["10.0.0.5", "10.0.0.5-2"]
