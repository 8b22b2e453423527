"""Turns of contestants: which pictures they see, and what is on which clock."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from blitznet.bench.contestant import Found, files_turn, look_turn
from blitznet.bench.race import Laps

NOTHING = Found(None, None, None, None)


def pictures(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (index + 1, 1)) for index in range(count)]


def test_all_pictures_are_shown_over_and_over_again() -> None:
    seen: list[list[int]] = []

    def look(images: Sequence[Image.Image], laps: Laps) -> list[Found]:
        seen.append([image.width for image in images])
        laps.end("network")
        return [NOTHING for _ in images]

    turn = look_turn(look, pictures(3), 2, None)
    for _ in range(4):
        (sample,) = turn(0.0)
        assert set(sample) == {"network", "total"}
    assert seen == [[1, 2], [3, 1], [2, 3], [1, 2]]


def test_where_the_device_must_be_waited_for_stages_and_total_are_measured_apart() -> None:
    waits: list[int] = []

    def look(images: Sequence[Image.Image], laps: Laps) -> list[Found]:
        laps.end("network")
        return [NOTHING for _ in images]

    turn = look_turn(look, pictures(1), 1, lambda: waits.append(1))
    assert [set(sample) for sample in turn(0.0)] == [{"total"}, {"network"}]
    assert len(waits) == 1


def test_what_a_stream_did_between_two_turns_is_not_counted() -> None:
    taken: list[Path] = []

    def stream(files: Iterable[Path]) -> Iterator[object]:
        for file in files:
            taken.append(file)
            yield file

    turn = files_turn(stream, [Path("a"), Path("b")], 3)
    assert [set(sample) for sample in turn(0.0)] == [{"files", "total"}]
    assert taken == [Path(name) for name in "ababab"]  # three without a clock, three with one
