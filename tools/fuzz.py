"""Feed broken and hostile files to everything that opens files, and keep those that cause failures.

python tools/fuzz.py --inputs 5000

Each input is a file that we read, or the body of a request, with random changes to its values or
bytes. Reading it must succeed or raise a `BlitzNetError` of one line. Anything else is a failure,
and so are files outside the results folder, 20 seconds of CPU time, or 1.5 GB of memory. Inputs are
numbered and reproducible; `--only KIND --first NUMBER --inputs 1` repeats one.
"""

import copy
import io
import json
import math
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Any

import typer

from blitznet.errors import BlitzNetError

MAX_SECONDS = 20
MAX_BYTES = 1.5e9
MAX_LINE = 6000  # characters; a path may have 4 000
SLOW_KINDS = ("checkpoint", "onnx", "openvino")
SILENCE_SECONDS = 300  # after this, a process is stuck in a library and is killed

Seeds = list[tuple[str, bytes]]  # file name and content

# Replacements for values.
NASTY: list[Any] = [
    None, True, -1, 0, 1, 255, 256, 2**31, 2**63, 10**30, -(10**30), 10**400, 0.5, -0.0, 1e-30,
    1e308, math.nan, math.inf, "", " ", "a", "0", "-1", "1e999", "nan", "../../outside",
    "/etc/passwd", "/dev/zero", "a\0b", "\ud800", "\udce9", "\x1b[2J", "a\nb", "$\\frac$",
    "[/red]", "%s{0}", "x" * 300, "x" * 5000, "é" * 130, [], {}, [[]], [None], {"": None},
    list(range(1000)), ["a"] * 5000,
]  # fmt: skip


def change_value(content: Any, rng: random.Random) -> Any:
    """A copy of nested lists and dicts with one to three changes."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places: list[tuple[Any, Any]] = []
        open_nodes = [content]
        while open_nodes:
            node = open_nodes.pop()
            keys = node if isinstance(node, dict) else range(len(node))
            for key in list(keys):
                places.append((node, key))
                if isinstance(node[key], dict | list):
                    open_nodes.append(node[key])
        if not places:
            return rng.choice(NASTY)
        node, key = rng.choice(places)
        way = rng.randrange(8)
        if way == 0:
            del node[key]
        elif way == 1 and isinstance(node, list):
            node.insert(key, copy.deepcopy(node[key]))
        elif way == 1:
            node[f"{key}2"] = copy.deepcopy(node[key])
        elif way == 2:
            other, place = rng.choice(places)
            with_it = other[place] if isinstance(other, list) or place in other else None
            node[key] = copy.deepcopy(with_it)
        elif way == 3:
            for _ in range(rng.choice((3, 60, 2000))):
                node[key] = [node[key]] if rng.random() < 0.5 else {"a": node[key]}
        else:
            node[key] = copy.deepcopy(rng.choice(NASTY))
    return content


def to_json(content: Any) -> bytes:
    """The content as JSON; if it is nested too deeply for `json`, an equally deep list."""
    try:
        return json.dumps(content).encode()
    except (RecursionError, ValueError):
        return b"[" * 5000


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    """Some bytes flipped, set, cut, repeated or inserted."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(changed) + 1)
        way = rng.randrange(6)
        if way == 0:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif way == 1:
            changed[at : at + 4] = rng.choice(
                (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff")
            )
        elif way == 2:
            del changed[at : at + rng.choice((1, 4, 100))]
        elif way == 3:
            changed[at:at] = changed[at : at + rng.choice((1, 10, 1000))] * rng.choice((1, 2, 50))
        elif way == 4:
            changed[at:at] = rng.randbytes(rng.choice((1, 4, 50)))
        elif rng.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def change_text(content: bytes, rng: random.Random) -> bytes:
    """Replace some words, or `change_bytes`."""
    if rng.random() < 0.3:
        return change_bytes(content, rng)
    words = content.split(b" ")
    for _ in range(rng.choice((1, 2, 3))):
        value = str(rng.choice(NASTY)).encode(errors="surrogatepass")
        words[rng.randrange(len(words))] = value
    return b" ".join(words)


def change_png(content: bytes, rng: random.Random) -> bytes:
    """A PNG with a changed, missing or repeated chunk and correct checksums."""
    chunks, position = [], 8
    while position < len(content):
        end = position + 8 + int.from_bytes(content[position : position + 4])
        chunks.append(content[position + 4 : end])
        position = end + 4
    at = rng.randrange(len(chunks))
    way = rng.randrange(4)
    if way == 0:
        del chunks[at]
    elif way == 1:
        chunks.insert(at, chunks[at])
    elif way == 2 and chunks[at][:4] == b"IDAT":
        plain = change_bytes(zlib.decompress(chunks[at][4:]), rng)
        chunks[at] = b"IDAT" + zlib.compress(plain)
    else:
        chunks[at] = chunks[at][:4] + change_bytes(chunks[at][4:], rng)
    parts = [content[:8]]
    for chunk in chunks:
        parts += [(len(chunk) - 4).to_bytes(4), chunk, zlib.crc32(chunk).to_bytes(4)]
    return b"".join(parts)


def drawn_images() -> Seeds:
    """One small image of every format and pixel type."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    colour = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    grey16 = Image.fromarray(pixels[..., 0].astype(np.uint16) * 16)
    floats = Image.fromarray(pixels[..., 0].astype(np.float32))
    kinds: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("PNG", colour, {}), ("PNG", colour.convert("P"), {"transparency": 3}), ("PNG", grey16, {}),
        ("PNG", colour.convert("RGBA"), {}), ("PNG", colour.convert("1"), {}), ("JPEG", colour, {}),
        ("JPEG", colour, {"progressive": True, "exif": exif}), ("JPEG", colour.convert("CMYK"), {}),
        ("WEBP", colour, {"exif": exif}), ("WEBP", colour.convert("RGBA"), {"lossless": True}),
        ("TIFF", colour, {}), ("TIFF", colour, {"compression": "tiff_lzw"}), ("TIFF", grey16, {}),
        ("TIFF", colour, {"compression": "jpeg"}), ("TIFF", floats, {}), ("BMP", colour, {}),
        ("GIF", colour, {"save_all": True, "append_images": [colour.rotate(9)]}),
        ("PPM", colour, {}), ("JPEG2000", colour, {}), ("AVIF", colour, {}),
    ]  # fmt: skip
    seeds = []
    for image_format, image, options in kinds:
        stream = io.BytesIO()
        image.save(stream, format=image_format, **options)
        seeds.append((f"a.{image_format.lower()}", stream.getvalue()))
    return seeds


class Kind:
    """A kind of file: valid examples, how they are changed, and what reads them."""

    def __init__(
        self, seeds: Seeds, change: Callable[[bytes, random.Random], bytes],
        read: Callable[[Path], object],
    ) -> None:  # fmt: skip
        self.seeds, self.change, self.read = seeds, change, read


def image_kinds() -> dict[str, Kind]:
    """Images, read as images, as reduced images and as segmentation maps."""
    from blitznet.data.labels import ClassTable
    from blitznet.data.seg_map import MapEncoding, MapFile, parse_codes
    from blitznet.image import OpenImage, read_image

    seeds, names = drawn_images(), ("background", "cat", "dog")
    values = parse_codes(list(names), None, Path())
    colours = MapEncoding({0: "background", 0xFF0000: "cat"}, are_colours=True)

    def change(content: bytes, rng: random.Random) -> bytes:
        is_png = content.startswith(b"\x89PNG") and rng.random() < 0.8
        return (change_png if is_png else change_bytes)(content, rng)

    def read_map(path: Path) -> None:
        codes = colours if path.stat().st_size % 2 else values
        MapFile(path, codes)((32, 24), ClassTable(names))

    def read_reduced(path: Path) -> None:
        opened = OpenImage(path)
        opened.decode(opened.reductions[-1])

    return {
        "image": Kind(seeds, change, read_image),
        "reduced": Kind([seed for seed in seeds if "jpeg" in seed[0]], change, read_reduced),
        "map": Kind([seed for seed in seeds if "jpeg" not in seed[0]], change, read_map),
    }


def label_kinds(folder: Path) -> dict[str, Kind]:
    """Label files and data descriptions, for two images and a map in `folder`."""
    from PIL import Image

    from blitznet.data.check.check import check_data
    from blitznet.data.description import read_description

    for name in ("a.png", "b.png"):
        Image.new("RGB", (32, 24), "green" if name == "a.png" else "blue").save(folder / name)
    (folder / "m").mkdir()
    Image.new("L", (32, 24), 1).save(folder / "m/a.png")
    (folder / "names.txt").write_text("cat\ndog\n")
    (folder / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    box = {"bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}
    counts = [50, 20, 698]
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24},
                   {"id": 2, "file_name": "b.png"}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]} | box,
            {"id": 2, "image_id": 1, "category_id": 2, "iscrowd": 1,
             "segmentation": {"size": [24, 32], "counts": counts}, "bbox": [1, 1, 9, 9]},
            {"id": 3, "image_id": 2, "category_id": 2,
             "segmentation": {"size": [24, 32], "counts": "R16d06I00"}} | box,
        ],
    }  # fmt: skip
    xml = (
        b"<annotation><filename> a.png </filename><size><width> 32 </width><height> 24 </height>"
        b"<depth> 3 </depth></size><object><name> cat </name><difficult> 0 </difficult><bndbox>"
        b"<xmin> 2 </xmin><ymin> 2 </ymin><xmax> 9 </xmax><ymax> 9 </ymax></bndbox></object>"
        b"</annotation>"
    )
    rows = b"0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.3 0.1 0.3 0.3\n"
    data_yaml = {"path": ".", "train": ".", "val": ["."], "names": {0: "cat", 1: "dog"}, "nc": 2}
    entries: list[dict[str, Any]] = [
        {"format": "yolo", "root": ".", "names": "names.txt", "masks": "m",
         "label_map": {"cat": "dog"}},
        {"format": "coco", "images": ".", "annotations": "coco.json", "masks": "from_instances"},
        {"format": "masks", "images": ".", "masks": "m", "values": {0: "background", 1: "cat"}},
        {"format": "voc", "root": ".", "boxes": True, "max_pictures": 3, "weight": 2.0},
    ]  # fmt: skip

    def check(path: Path) -> None:
        check_data(read_description(path), path)

    def check_entry(entry: dict[str, Any]) -> Callable[[Path], object]:
        def read(path: Path) -> None:
            here = {key: str(path) if value == "FILE" else value for key, value in entry.items()}
            content = {"classes": ["cat", "dog"], "train": [here]}
            (folder / "data.json").write_text(json.dumps(content))
            check(folder / "data.json")

        return read

    def as_json(content: bytes, rng: random.Random) -> bytes:
        if rng.random() < 0.15:
            return change_bytes(content, rng)
        return to_json(change_value(json.loads(content), rng))

    labels = [("a.txt", rows)]
    yolo = {"format": "yolo", "data": "FILE", "split": "train"}
    instances = entries[1] | {"annotations": "FILE"}
    descriptions = [
        ("d.yaml", to_json({"classes": ["cat", "dog"], "train": [entry]})) for entry in entries
    ]
    return {
        "data": Kind(descriptions, as_json, check),
        "coco": Kind([("c.json", to_json(coco))], as_json, check_entry(instances)),
        "voc": Kind([("a.xml", xml)], change_text, check_entry({"format": "voc", "root": "."})),
        "yolo": Kind(labels, change_text, check_entry(entries[0] | {"masks": "from_instances"})),
        "data_yaml": Kind([("y.yaml", to_json(data_yaml))], as_json, check_entry(yolo)),
        "names": Kind([("n.txt", b"cat dog\nbird \n")], change_text,
                      check_entry({"format": "yolo", "root": ".", "names": "FILE"})),
    }  # fmt: skip


def training_kinds() -> dict[str, Kind]:
    """Recipes, run records, checkpoints, training states and CSV rows."""
    from safetensors.torch import save

    from blitznet.model.blitznet import BlitzNet
    from blitznet.model.checkpoint import describe, load_checkpoint
    from blitznet.model.imagenet_weights import is_counter
    from blitznet.model_info import BLITZNET300_MOBILE
    from blitznet.training.log import read_rows
    from blitznet.training.recipe import RECIPES, read_recipe
    from blitznet.training.resume import read_progress
    from blitznet.training.run_record import read_run

    small = {"image_size": 64, "downscale_width": 8, "upscale_width": 8, "backbone": "test_resnet"}
    network = BlitzNet(BLITZNET300_MOBILE.model_copy(update={**small, "num_classes": 3}))
    tensors = {n: t.contiguous() for n, t in network.state_dict().items() if not is_counter(n)}
    info = describe(network).model_dump_json()
    checkpoint = save(tensors, {"blitznet": info})
    state = save(tensors, {"blitznet_training": json.dumps({"step": 3, "seconds": 1.5})})
    recipe = RECIPES["modern"].model_dump(mode="json")
    run = {"recipe": recipe, "data": "d.yaml", "command": ["blitznet"]}
    rows = b"step,score\n1,0.5\n2,0.25\n"
    short = b'{"base": "modern", "model": "ssd300"}'
    recipes = [("r.yaml", to_json(recipe)), ("s.yaml", short)]

    def change_header(content: bytes, rng: random.Random) -> bytes:
        if rng.random() < 0.3:
            return change_bytes(content, rng)
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:end])
        if rng.random() < 0.7:
            [(key, text)] = header["__metadata__"].items()
            changed = change_value(json.loads(text), rng)
            header["__metadata__"] = {key: to_json(changed).decode()}
        else:
            header = change_value(header, rng)
        new = to_json(header)
        return len(new).to_bytes(8, "little") + new + content[end:]

    def as_json(content: bytes, rng: random.Random) -> bytes:
        return to_json(change_value(json.loads(content), rng))

    def read_metrics(path: Path) -> object:
        return read_rows(path, ("step", "score"))

    return {
        "recipe": Kind(recipes, as_json, lambda path: read_recipe(str(path))),
        "run": Kind([("run.json", to_json(run))], as_json, lambda path: read_run(path.parent)),
        "checkpoint": Kind([("c.safetensors", checkpoint)], change_header, load_checkpoint),
        "state": Kind([("state.safetensors", state)], change_header, read_progress),
        "rows": Kind([("v.csv", rows)], change_text, read_metrics),
    }  # fmt: skip


def exported_kinds() -> dict[str, Kind]:
    """Exported files, opened by ONNX Runtime and OpenVINO."""
    import onnx

    from blitznet.inference.engines.choose import open_engine
    from blitznet.model_files import bundled_networks

    file = bundled_networks()["blitznet300-mobile"].exported
    assert file is not None
    content = file.read_bytes()

    def change(content: bytes, rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return change_bytes(content, rng)
        model = onnx.load_from_string(content)
        [entry] = [entry for entry in model.metadata_props if entry.key == "blitznet"]
        if rng.random() < 0.7:
            changed = to_json(change_value(json.loads(entry.value), rng))
            entry.value = changed.decode()
        else:
            node = rng.choice(model.graph.node)
            way = rng.randrange(3)
            if way == 0:
                model.graph.node.remove(node)
            elif way == 1 and node.attribute:
                rng.choice(node.attribute).i = rng.choice((-1, 0, 2**31, 2**62))
            else:
                tensor = rng.choice(model.graph.initializer)
                tensor.dims[:] = [rng.choice((0, 1, 7, 2**31))] * len(tensor.dims)
        return bytes(model.SerializeToString())

    def read(engine: str) -> Callable[[Path], object]:
        return lambda path: open_engine(path, engine, "cpu").close()

    return {
        "onnx": Kind([("a.onnx", content)], change, read("onnxruntime")),
        "openvino": Kind([("a.onnx", content)], change, read("openvino")),
    }


def video_kinds(folder: Path) -> dict[str, Kind]:
    """Small videos in four containers."""
    import av
    import numpy as np

    from blitznet.inference.video.open_video import open_video

    random_numbers, seeds = np.random.default_rng(0), []
    codecs = {"mp4": "libx264", "mkv": "libx264", "avi": "mpeg4", "ts": "mpeg2video"}
    for suffix, codec in codecs.items():
        path = folder / f"seed.{suffix}"
        with av.open(str(path), "w") as file:
            stream = file.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for _ in range(6):
                pixels = random_numbers.integers(0, 256, (48, 64, 3), np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            file.mux(stream.encode())
        seeds.append((f"a.{suffix}", path.read_bytes()))
        path.unlink()
    seeds.append(("b.mp4", b"ffconcat version 1.0\nfile a.mp4\nduration 1\n"))

    def read(path: Path) -> None:
        video = open_video(str(path))
        for index, _ in enumerate(video):
            if index == 100:
                break
        video.close()

    return {"video": Kind(seeds, change_bytes, read)}


def batch_kinds() -> dict[str, Kind]:
    """Inputs of `blitznet batch`: lists, tar files and tables of images."""
    import tarfile

    import pyarrow as pa
    from pyarrow import parquet

    from blitznet.cluster.listing import list_items
    from blitznet.cluster.remote_files import is_content_elsewhere, is_http, read_content
    from blitznet.errors import ImageError
    from blitznet.image import read_image

    lines = b"a.png \nmissing.jpg \nb.tar#0+512 \nfile:///etc/passwd \n"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in ("a.png", "b/c.png"):
            content = drawn_images()[0][1]
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    table = io.BytesIO()
    rows = {"id": ["x", "y", None], "uri": ["a.png", "b.png", None], "more": [1, 2, 3]}
    parquet.write_table(pa.table(rows), table)
    seeds = [("l.txt", lines), ("l.tar", stream.getvalue()), ("l.parquet", table.getvalue())]

    def change(content: bytes, rng: random.Random) -> bytes:
        return (change_text if content == lines else change_bytes)(content, rng)

    def read(path: Path) -> None:
        for number, item in enumerate(list_items(str(path))):
            if number == 1000 or is_http(item.uri):
                break
            try:
                read_content(item.uri) if is_content_elsewhere(item.uri) else read_image(item.uri)
            except ImageError:
                continue  # becomes a row with an error

    return {"batch": Kind(seeds, change, read)}


def service_kinds(folder: Path) -> dict[str, Kind]:
    """Request bodies: images, forms and Label Studio tasks."""
    import base64

    from fastapi.testclient import TestClient

    import blitznet
    from blitznet.service import Settings, create_app

    png = drawn_images()[0][1]
    config = (
        "<View> <Image name='a' value='$image'/> <RectangleLabels name='b' toName='a'> "
        "<Label value='cat'/> </RectangleLabels> </View>"
    )
    tasks = [
        {"id": 1, "data": {"image": f"data:image/png;base64,{base64.b64encode(png).decode()}"}},
        {"id": 2, "data": {"image": "/data/upload/a.png"}},
    ]
    form = b"\r\n".join((
        b'--x', b'Content-Disposition: form-data; name="score"', b"", b"0.5", b"--x",
        b'Content-Disposition: form-data; name="file"; filename="a.png"',
        b"Content-Type: image/png", b"", b"%b", b"--x--", b"",
    ))  # fmt: skip
    json_type, form_type = "application/json", "multipart/form-data; boundary=x"
    seeds = [
        ("s.json", to_json({"tasks": tasks, "label_config": config})),
        ("s.form", form % png),
        ("s.png", png),
    ]
    settings = Settings(uploads=folder, max_megapixels=1)
    net = blitznet.load("blitznet300-mobile", engine="onnxruntime")
    client = TestClient(create_app(net, settings))
    client.__enter__()

    def change(content: bytes, rng: random.Random) -> bytes:
        if content.startswith(b"{") and rng.random() < 0.85:
            return to_json(change_value(json.loads(content), rng))
        return (change_text if content.startswith(b"--x") else change_bytes)(content, rng)

    def read(path: Path) -> None:
        kinds = {".json": json_type, ".form": form_type, ".png": "image/png"}
        headers = {"Content-Type": kinds[path.suffix]}
        answer = client.post("/predict", content=path.read_bytes(), headers=headers)
        if answer.status_code != 200:
            if answer.status_code not in (413, 415, 422):
                raise AssertionError(f"status {answer.status_code}: {answer.text[:300]}")
            raise BlitzNetError(answer.json()["detail"])

    return {"service": Kind(seeds, change, read)}


def make_kinds(folder: Path) -> dict[str, Kind]:
    """All kinds by name."""
    kinds = image_kinds() | label_kinds(folder) | training_kinds() | exported_kinds()
    return kinds | video_kinds(folder) | batch_kinds() | service_kinds(folder)


def try_input(kind: Kind, number: int, folder: Path) -> str | None:
    """Try one input; return the failure, or None."""
    rng = random.Random(number)
    name, content = rng.choice(kind.seeds)
    path = folder / name
    before = path.read_bytes() if path.is_file() else None
    try:
        path.write_bytes(kind.change(content, rng))
    except RecursionError:  # while copying a deep value
        path.write_bytes(b"[" * 5000)
    files, start = set(folder.rglob("*")), time.process_time()
    problem = None
    try:
        kind.read(path)
    except BlitzNetError as error:
        text = str(error)
        if "\n" in text.replace(str(folder), "") and "\\n" not in text:
            problem = f"a message of several lines: {text[:300]!r}"
        elif len(text) > MAX_LINE:
            problem = f"a message of {len(text)} characters: {text[:300]!r}"
    except Exception:  # noqa: BLE001 - this is what we look for
        problem = traceback.format_exc(limit=-6)
    if (seconds := time.process_time() - start) > MAX_SECONDS:
        problem = f"{seconds:.0f} seconds"
    if new := set(folder.rglob("*")) - files - {folder / "data.json"}:
        problem = f"left {new}"
    if problem is None:
        path.unlink()
    else:
        kept = folder.parent / "failures" / f"{number}-{name}"
        kept.parent.mkdir(exist_ok=True)
        path.replace(kept)
    if before is not None:
        path.write_bytes(before)
    return problem


def work(numbers: list[int], only: str, folder: Path, results: Any) -> None:
    """Try inputs in a worker process, and report before and after each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir(folder)
    os.environ["HOME"] = str(folder.parent / "home")
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - silences libraries
        os.dup2(nowhere.fileno(), 2)
    kinds = make_kinds(folder)
    # Whole networks take as long as a dozen other inputs.
    often = [name for name in kinds if name not in SLOW_KINDS] * 6
    names = [name for name in (*often, *SLOW_KINDS) if only in ("", name)]
    for number in numbers:
        name = names[number % len(names)]
        results.put((number, name, "begin", None))
        problem = try_input(kinds[name], number, folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        results.put((number, name, "end", problem))
        results.put((number, name, "peak", peak))
    results.put((-1, "", "done", None))


def run_process(numbers: list[int], only: str, place: Path) -> "tuple[Any, Any]":
    """Start a process that tries these inputs in its own folder."""
    folder = Path(mkdtemp(dir=place)) / "out"
    folder.mkdir()
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=work, args=(numbers, only, folder, results))
    process.start()
    return process, results


def watch(numbers: list[int], only: str, place: Path) -> tuple[Counter[str], list[str], float]:
    """Run processes one after another; return inputs by kind, failures and peak memory."""
    tried, failures, highest = Counter[str](), list[str](), 0.0
    while numbers:
        process, results = run_process(numbers, only, place)
        current, is_done = (numbers[0], ""), False
        while not is_done:
            try:
                number, name, what, value = results.get(timeout=SILENCE_SECONDS)
            except Exception:  # noqa: BLE001 - queue.Empty: the process hangs or has died
                process.kill()
                failures.append(f"{current}: no answer, exit code {process.exitcode}")
                print(failures[-1], flush=True)  # noqa: T201
                numbers = [one for one in numbers if one > current[0]]
                break
            if what == "begin":
                current = number, name
                tried[name] += 1
            elif what == "end" and value is not None:
                failures.append(f"{number} {name}: {value}")
                print(failures[-1], flush=True)  # noqa: T201
            elif what == "peak":
                highest = max(highest, value)
            is_done = what == "done"
        else:
            numbers = []
        process.join()
    return tried, failures, highest


def main(
    inputs: Annotated[int, typer.Option(help="Number of inputs.")] = 5000,
    first: Annotated[int, typer.Option(help="Number of the first input.")] = 0,
    only: Annotated[str, typer.Option(help="Only this kind of file.")] = "",
) -> None:
    """Try inputs and print failures; exits with 1 after any failure."""
    place = Path(mkdtemp(prefix="fuzz-"))
    start = time.monotonic()
    tried, failures, highest = watch(list(range(first, first + inputs)), only, place)
    counts = ", ".join(f"{name} {number}" for name, number in sorted(tried.items()))
    print(f"{sum(tried.values())} inputs: {counts}")  # noqa: T201
    seconds = time.monotonic() - start
    print(f"{len(failures)} failures, {highest / 1e6:.0f} MB, {seconds:.0f} s; {place}")  # noqa: T201
    sys.exit(bool(failures) or highest > MAX_BYTES)


if __name__ == "__main__":
    typer.run(main)
