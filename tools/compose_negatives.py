"""Compose images that show none of the network's classes: cut-outs of other things on backgrounds.

apt-get download tuxpaint-stamps-default mate-backgrounds gnome-backgrounds ukui-wallpapers \
    lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 opencv-doc
for package in *.deb; do dpkg-deb -x $package things; done
cp results/blitznet300-mobile/{cut_outs,backgrounds}.txt things
python tools/compose_negatives.py things/cut_outs.txt things/backgrounds.txt --out data/negatives

The two lists name one image file per line; relative paths start at the list. Tux Paint's stamps are
photos of cups, tools, fruit, coins and more, with a mask in the alpha channel. Choose by eye: no
image may show an object of a class. The result is a folder in VOC's layout for a data description:

{format: voc, root: negatives, image_set: Main/train, boxes: true, masks: SegmentationClass}
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from blitznet.files.text_files import write_text

SIZES = ((400, 300), (400, 267), (300, 400), (400, 400))  # width, height
MAX_CUT_OUTS = 4
SHADOW = 6  # pixels to the right and down
ANNOTATION = (
    "<annotation><filename>{name}.jpg</filename>"
    "<size><width>{width}</width><height>{height}</height><depth>3</depth></size></annotation>"
)


def compose_negatives(
    cut_outs: Path,
    backgrounds: Path,
    out: Annotated[Path, typer.Option()],
    number: Annotated[int, typer.Option()] = 300,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Write images, empty annotations, maps of background, and their list."""
    rng = np.random.default_rng(seed)
    things, places = read_list(cut_outs), read_list(backgrounds)
    for folder in ("JPEGImages", "SegmentationClass"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    names = [f"negative_{index:04d}" for index in range(number)]
    for name in names:
        image = draw_background(places[rng.integers(len(places))], rng)
        for _ in range(rng.integers(MAX_CUT_OUTS + 1)):
            paste(image, things[rng.integers(len(things))], rng)
        image.save(out / "JPEGImages" / f"{name}.jpg", quality=90)
        Image.new("L", image.size).save(out / "SegmentationClass" / f"{name}.png")
        text = ANNOTATION.format(name=name, width=image.width, height=image.height)
        write_text(out / "Annotations" / f"{name}.xml", text, sync=False)
    write_text(out / "ImageSets/Main/train.txt", "\n".join(names) + "\n")


def read_list(path: Path) -> list[Path]:
    """The files that a list names."""
    return [path.parent / line for line in path.read_text().splitlines() if line]


def draw_background(path: Path, rng: np.random.Generator) -> Image.Image:
    """A random part of a photo, at one of `SIZES`."""
    with Image.open(path) as photo:
        photo.draft("RGB", (1200, 1200))
        image = photo.convert("RGB")
    width, height = SIZES[rng.integers(len(SIZES))]
    scale = max(width / image.width, height / image.height) * rng.uniform(1, 2.2)
    image = image.resize((round(image.width * scale) + 1, round(image.height * scale) + 1))
    left, top = rng.integers(image.width - width), rng.integers(image.height - height)
    image = image.crop((left, top, left + width, top + height))
    return mirrored(ImageEnhance.Color(image).enhance(rng.uniform(0.3, 1.1)), rng)


def paste(image: Image.Image, path: Path, rng: np.random.Generator) -> None:
    """Paste a cut-out somewhere into the image, often with a shadow."""
    with Image.open(path) as photo:
        thing = photo.convert("RGBA")
    scale = min(image.size) * rng.uniform(0.15, 1) / max(thing.size)
    thing = thing.resize([max(round(side * scale), 8) for side in thing.size])
    thing = mirrored(thing, rng).rotate(
        rng.uniform(-25, 25), expand=True, resample=Image.Resampling.BICUBIC
    )
    mask = thing.getchannel("A")
    thing = ImageEnhance.Brightness(thing.convert("RGB")).enhance(rng.uniform(0.6, 1.15))
    thing = ImageEnhance.Color(thing).enhance(rng.uniform(0.4, 1.1))
    left, top = (  # at most a fifth is cut off at each side
        round(rng.uniform(-own / 5, max(side - 0.8 * own, 1)))
        for own, side in zip(thing.size, image.size, strict=True)
    )
    if rng.random() < 0.6:
        darkness = rng.uniform(0.3, 0.6)
        shadow = mask.filter(ImageFilter.GaussianBlur(8)).point(lambda value: value * darkness)
        image.paste((0, 0, 0), (left + SHADOW, top + SHADOW), shadow)
    image.paste(thing, (left, top), mask)


def mirrored(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image, in half of the cases mirrored."""
    return ImageOps.mirror(image) if rng.random() < 0.5 else image


if __name__ == "__main__":
    typer.run(compose_negatives)
