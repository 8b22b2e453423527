import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from PIL import Image

import blitznet
from blitznet.errors import ImageError, InputError
from blitznet.inference.engines.engine import EngineOutput
from blitznet.inference.engines.torch_engine import TorchEngine
from blitznet.inference.predict_folder import predict_to_folder
from blitznet.inference.predictor import Predictor
from blitznet.model.blitznet import normalize_images
from blitznet.model_files import CheckpointInfo
from blitznet.scene import Scene
from blitznet.structures import RawPredictions, Sample
from resized_sample import resize_sample
from tiny_network import (
    NAMES,
    ColourNetwork,
    colour_predictor,
    predictor_of,
    tiny_model,
    tiny_predictor,
)

RED, GREEN, BLUE = (NAMES.index(name) for name in ("red", "green", "blue"))


def halves(width: int, height: int) -> Image.Image:
    """An image that is red on the left and blue on the right."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    return image


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    return tiny_predictor()


@pytest.mark.parametrize("size", [(64, 64), (640, 480), (100, 700), (1, 1), (3, 2)])
def test_boxes_are_in_pixels_of_the_given_image(size: tuple[int, int]) -> None:
    scene = colour_predictor().predict(halves(*size))
    width, height = size
    expected = [0.25 * width, 0.125 * height, 0.75 * width, 0.375 * height]
    assert scene.boxes.tolist() == [pytest.approx(expected)]
    assert scene.labels.tolist() == [GREEN]
    assert scene.scores.tolist() == [pytest.approx(0.9)]
    dtypes = [scene.boxes.dtype, scene.labels.dtype, scene.scores.dtype]
    assert dtypes == [np.float32, np.int64, np.float32]
    assert (scene.size, scene.names) == (size, NAMES)


@pytest.mark.parametrize("size", [(640, 480), (101, 700), (33, 5)])
def test_the_map_has_the_class_of_every_pixel_of_the_given_image(size: tuple[int, int]) -> None:
    seg_map = colour_predictor().predict(halves(*size)).seg_map
    assert seg_map is not None
    width, height = size
    assert (seg_map.shape, seg_map.dtype) == ((height, width), np.dtype(np.uint8))
    middle = width // 2
    margin = width // 16 + 1  # one cell of the 16 x 16 logits
    assert (seg_map[:, : middle - margin] == RED).all()
    assert (seg_map[:, middle + margin :] == BLUE).all()
    dark = colour_predictor().predict(np.zeros((20, 30, 3), np.uint8))
    assert dark.pixel_shares() == {"background": 1.0}


def test_a_turned_photograph_is_predicted_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    stored = halves(60, 40).transpose(Image.Transpose.ROTATE_90)
    stored.save(tmp_path / "turned.png", exif=exif)
    turned = colour_predictor().predict(tmp_path / "turned.png")
    upright = colour_predictor().predict(halves(60, 40))
    assert turned.boxes.tolist() == upright.boxes.tolist()
    assert turned.image.size == (60, 40)
    np.testing.assert_array_equal(turned.seg_map, upright.seg_map)


def test_every_kind_of_image_gives_the_same(tmp_path: Path, tiny: Predictor) -> None:
    pixels, path = noise(50, 40), tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    content, tensor = path.read_bytes(), torch.tensor(pixels).permute(2, 0, 1)
    opaque = np.dstack([pixels, np.full((40, 50), 255, np.uint8)])
    expected = tiny.predict(pixels, 0.2)
    assert len(expected.boxes) > 0
    with Image.open(path) as image, path.open("rb") as file:
        named = [path, str(path), image, file]
        unnamed = [
            pixels, opaque, content, BytesIO(content), tensor, tensor / 255, torch.tensor(pixels),
            pixels[..., ::-1].copy()[..., ::-1],  # as an array of OpenCV's
        ]  # fmt: skip
        for source in named + unnamed:
            scene = tiny.predict(source, 0.2)
            np.testing.assert_array_equal(scene.boxes, expected.boxes)
            np.testing.assert_array_equal(scene.seg_map, expected.seg_map)
            assert scene.source == (None if any(source is one for one in unnamed) else str(path))
    with pytest.raises(ImageError, match="the given bytes: not an image"):
        tiny.predict(b"text")


def test_whatever_holds_several_images_gives_a_list(
    tmp_path: Path, tiny: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trip").mkdir()
    pixels = np.stack([noise(50, 40, seed=seed) for seed in range(3)])
    for name, image in zip("abc", pixels, strict=True):
        Image.fromarray(image).save(f"trip/{name}.png")
    expected = [scene.boxes.tolist() for scene in tiny.predict(list(pixels), 0.2)]
    several = [
        pixels, torch.tensor(pixels).permute(0, 3, 1, 2), (image for image in pixels), "trip",
        "trip/*.png", Path("trip/[abc].*"), Path("trip").glob("*.png"), tuple(pixels),
    ]  # fmt: skip
    for source in several:
        found = [scene.boxes.tolist() for scene in tiny.predict(source, 0.2)]
        assert sorted(found) == sorted(expected)
    for nothing in ("trip/*.gif", "http://host/a.jpg", "http://host/a.mp4"):
        with pytest.raises(InputError, match=re.escape(nothing)):
            tiny.predict(nothing)


@pytest.mark.parametrize("batch", [1, 2, 5, 8])
def test_batches_change_nothing_but_speed(tiny: Predictor, batch: int) -> None:
    images = [noise(30 + 7 * i, 40, seed=i) for i in range(5)]
    alone = [tiny.predict(image, score=0.2) for image in images]
    together = tiny.predict(images, score=0.2, batch=batch)
    assert tiny.predict([], batch=batch) == []
    assert [scene.size for scene in together] == [(30 + 7 * i, 40) for i in range(5)]
    for one, other in zip(alone, together, strict=True):
        # Convolutions of other batch sizes add in another order: 1e-6 of a score.
        np.testing.assert_allclose(one.scores[:20], other.scores[:20], atol=1e-5)
        assert one.seg_map is not None
        assert np.mean(one.seg_map != other.seg_map) < 0.01


def test_only_objects_from_the_asked_score_on_are_given() -> None:
    predictor = colour_predictor()
    assert len(predictor.predict(halves(9, 9), score=0.89).boxes) == 1
    assert len(predictor.predict(halves(9, 9), score=0.91).boxes) == 0
    assert predictor.predict(halves(9, 9), score=0).scores.min() < 1e-3


def test_a_threshold_before_suppression_gives_the_same_as_after(tiny: Predictor) -> None:
    everything = tiny.predict(noise(60, 60), score=0.01)
    threshold = float(np.median(everything.scores))
    is_strong = everything.scores >= threshold
    strong = tiny.predict(noise(60, 60), score=threshold)
    assert 0 < is_strong.sum() < len(is_strong)
    np.testing.assert_array_equal(strong.boxes, everything.boxes[is_strong])


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_a_network_of_one_task_gives_that_task_only(task: str) -> None:
    predictor = colour_predictor(detect=task == "detect", segment=task == "segment")
    scene = predictor.predict(halves(40, 30))
    assert scene.boxes.shape == ((1, 4) if task == "detect" else (0, 4))
    assert (scene.seg_map is not None) == (task == "segment")
    assert scene.draw().size == (40, 30)


def test_an_unreadable_image_in_a_list_is_raised_and_in_a_stream_is_given(tmp_path: Path) -> None:
    predictor = colour_predictor()
    halves(8, 8).save(tmp_path / "a.png")
    sources = [tmp_path / "a.png", tmp_path / "missing.png", tmp_path / "a.png"]
    with pytest.raises(ImageError, match=r"missing\.png: no such file"):
        predictor.predict(sources)
    given = list(predictor.predict_stream(sources, batch=2))
    assert [source for source, _ in given] == sources
    assert [type(result) for _, result in given] == [Scene, ImageError, Scene]


def test_a_stream_takes_its_sources_as_they_are_needed() -> None:
    taken = 0

    def endless() -> Iterator[Image.Image]:
        nonlocal taken
        while True:
            taken += 1
            yield halves(8, 8)

    stream = colour_predictor().predict_stream(endless(), batch=2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    # Two batches under way and the next one, the readers' queue, and the one that filled it.
    assert taken <= 2 * 3 + 4 + 1


def test_while_one_batch_is_worked_out_the_next_one_is_in_the_network() -> None:
    both_under_way = Barrier(2, timeout=60)

    class Waiting(TorchEngine):
        def run(self, pixels: np.ndarray, score: float, iou: float | None = None) -> EngineOutput:
            output = super().run(pixels, score, iou)
            both_under_way.wait()
            return output

    model = ColourNetwork()
    info = CheckpointInfo(model=model.config, names=NAMES)
    predictor = Predictor(Waiting(model, info, torch.device("cpu")))  # type: ignore[arg-type]
    images = [halves(10 + index, 10) for index in range(4)]
    scenes = [scene for _, scene in predictor.predict_stream(images, batch=1)]
    assert [scene.size[0] for scene in scenes if isinstance(scene, Scene)] == [10, 11, 12, 13]


@pytest.mark.parametrize(
    "source", [None, 7, {"a.jpg"}, [None], torch.full((3, 8, 8), 2.0), torch.zeros(3, 8, 8).int()]
)
def test_what_is_no_image_is_a_type_error(source: object) -> None:
    with pytest.raises(
        TypeError, match=r"an image is a path, a PIL image|a tensor of floats|an array is uint8"
    ):
        colour_predictor().predict(source)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": -0.1},
        {"score": 1.5},
        {"batch": 0},
        {"iou": 2},
        {"max_detections": 0},
        {"classes": "a"},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        colour_predictor().predict(halves(8, 8), **wrong)  # type: ignore[arg-type]


def test_an_unknown_keyword_is_refused_with_those_that_exist(tiny: Predictor) -> None:
    for predictions in (
        tiny.predict_stream([halves(9, 9)], conf=0.1),  # type: ignore[call-arg]
        tiny.predict_video("clip.mp4", conf=0.1),  # type: ignore[call-arg]
        predict_to_folder(tiny, [], Path(), conf=0.1),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError, match="unexpected keyword argument 'conf'"):
            next(predictions)


def test_a_checkpoint_file_predicts_as_the_network_that_was_saved(
    checkpoint: str, tiny: Predictor
) -> None:
    loaded = blitznet.load(checkpoint, device="cpu")
    assert loaded.names == NAMES
    found, wanted = (one.predict(noise(50, 40), score=0.2) for one in (loaded, tiny))
    np.testing.assert_array_equal(found.boxes, wanted.boxes)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_sees_what_the_cpu_sees(tiny: Predictor) -> None:
    model, device = tiny_model(), torch.device("cuda", 0)
    info = CheckpointInfo(model=model.config, names=NAMES)
    on_gpu = Predictor(TorchEngine(model, info, device))
    image = noise(90, 70)
    on_cpu_scene, on_gpu_scene = tiny.predict(image, 0.2), on_gpu.predict(image, 0.2)
    # TF32 convolutions carry ten bits of mantissa.
    np.testing.assert_allclose(on_cpu_scene.scores[:10], on_gpu_scene.scores[:10], atol=1e-2)
    assert on_cpu_scene.seg_map is not None
    assert np.mean(on_cpu_scene.seg_map != on_gpu_scene.seg_map) < 0.05


def test_the_network_gets_the_same_pixels_as_in_evaluation() -> None:
    seen = []

    class Watching(ColourNetwork):
        def forward(self, images: torch.Tensor) -> RawPredictions:
            seen.append(images.clone())
            return super().forward(images)

    model = Watching()
    image = noise(101, 67)
    predictor_of(model).predict(image)
    nothing = np.zeros(0, np.int64)
    sample = Sample(image, None, nothing, nothing.astype(bool), None, "noise")
    pixels = torch.tensor(resize_sample(sample, 64).image).permute(2, 0, 1)[None]
    expected = normalize_images(pixels, model.config.mean, model.config.std)
    assert torch.equal(seen[0], expected)
