"""README and pages: links work, commands exist, and examples print what is shown."""

import ast
import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import typer
from PIL import Image

import blitznet
from blitznet.cli import main
from blitznet.cli.app import app
from blitznet.data.description import read_description
from blitznet.paper.tables import find_recipe
from blitznet.training.recipe import DEFAULT_RECIPE, Recipe
from synthetic_video import write_video

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
# Placeholders in pages where a command needs a number.
PLACEHOLDERS = {"N": "1", "STEPS": "1"}
SLOW_PAGE = pytest.param("docs/prelabelling", marks=pytest.mark.slow)
PAGES_TO_RUN = ["README", "docs/getting_started", SLOW_PAGE]
per_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)


def blocks(document: Path, *languages: str) -> list[str]:
    found = FENCE.findall(document.read_text())
    return [text for language, text in found if language in languages]


def commands(document: Path) -> Iterator[list[str]]:
    """Commands of all shell blocks, as lists of words, without comments and environment."""
    for block in blocks(document, "sh", "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                del words[0]
            if words:
                yield words


def our_words(words: list[str]) -> list[str] | None:
    """Verb and arguments of a call of `blitznet`, also as `-m blitznet`."""
    place = words.index("blitznet") if "blitznet" in words[:1] or "-m" in words else -1
    return words[place + 1 :] if place >= 0 else None


def slugs(text: str) -> set[str]:
    """Anchors of the headings, as on GitHub."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in headings}


@per_document
def test_links_and_anchors_lead_somewhere(document: Path) -> None:
    text = FENCE.sub("", document.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        assert file.exists(), target
        assert not anchor or anchor in slugs(file.read_text()), target


def test_every_page_is_in_the_navigation_of_the_site_and_on_its_first_page() -> None:
    site = (ROOT / "mkdocs.yml").read_text()
    index = (ROOT / "docs/index.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name in site
        assert page.name == "index.md" or f"]({page.name})" in index


def test_the_api_page_has_every_public_name() -> None:
    listed = re.findall(r"^::: ([\w.]+)$", (ROOT / "docs/api.md").read_text(), re.M)
    homes = {f"blitznet.{module}.{name}" for name, module in blitznet._HOMES.items()}
    assert sorted(listed) == sorted(homes)


@per_document
def test_commands_in_blocks_are_accepted(document: Path) -> None:
    for words in commands(document):
        ours = our_words(words)
        if ours:
            verb, *arguments = (PLACEHOLDERS.get(word, word) for word in ours)
            assert verb in VERBS, words
            try:
                VERBS[verb].make_context(verb, [word for word in arguments if word != "..."])
            except click.ClickException as error:
                pytest.fail(f"{' '.join(words)}: {error.format_message()}")
        elif words[0] == "make":
            for target in words[1:]:
                assert f"\n{target}:" in (ROOT / "Makefile").read_text(), words
        elif "python" in words[0] or words[:1] == ["taskset"]:
            for script in (word for word in words if word.endswith(".py")):
                flags = {word for word in words if word.startswith("--")}
                assert flags <= options_of_script(ROOT / script), words


@per_document
def test_commands_and_options_in_the_text_exist(document: Path) -> None:
    text = FENCE.sub("", document.read_text())
    everywhere = {option for verb in VERBS.values() for option in options_of(verb)}
    for script in [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tools").glob("*.py")]:
        everywhere |= options_of_script(script)
    everywhere |= {"--version", "--help"}
    for span in re.findall(r"`([^`\n]+)`", text):
        flags = re.findall(r"(?<![\w-])--[a-z][\w-]*", span)
        verb = re.match(r"blitznet ([a-z][\w-]*)", span)
        if verb:
            assert verb[1] in VERBS, span
            assert set(flags) <= options_of(VERBS[verb[1]]), span
        elif not span.startswith(("pip ", "srun", "torchrun", "tensorboard ")):
            assert set(flags) <= everywhere, span


def options_of_script(script: Path) -> set[str]:
    """Options of a script that uses argparse or typer."""
    text = script.read_text()
    named = set(re.findall(r'"(--[\w-]+)"', text))
    parameters = re.findall(r"(\w+): (?:Annotated|Path|bool|float|int|list|str)\b", text)
    return named | {f"--{name.replace('_', '-')}" for name in parameters}


def options_of(verb: click.Command) -> set[str]:
    return {option for parameter in verb.params for option in parameter.opts}


@per_document
def test_extras_to_install_exist(document: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    text = document.read_text()
    assert not re.search(r"pip install '?blitznet\b(?!\[EXTRA)", text)  # it is not on PyPI
    for named in re.findall(r"(?:blitznet|\.)\[([a-z,]+)\]", text):
        assert set(named.split(",")) <= extras.keys(), named


@per_document
def test_settings_of_recipes_exist(document: Path) -> None:
    for key in re.findall(r"--set ([\w.]+)=", document.read_text()):
        fields: dict[str, object] = dict(Recipe.model_fields)
        for part in key.split("."):
            assert part in fields, key
            annotation = getattr(fields[part], "annotation", None)
            fields = dict(getattr(annotation, "model_fields", {}))


@per_document
def test_recipes_named_in_blocks_exist_and_take_their_settings(
    document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for words in commands(document):
        ours = our_words(words)
        if ours and ours[0] == "train" and "--resume" not in ours and "RECIPE" not in ours:
            context = VERBS["train"].make_context("train", ours[1:])
            recipe = context.params["recipe"] or DEFAULT_RECIPE
            if recipe != "NAME":
                find_recipe(recipe, tuple(context.params["settings"] or ()))


@per_document
def test_data_descriptions_are_valid(document: Path, tmp_path: Path) -> None:
    file = tmp_path / "data.yaml"
    for block in blocks(document, "yaml"):
        if "classes:" in block:
            file.write_text(block)
            read_description(file)
    for entry in re.findall(r"`(\{format: [^`]+\})`", document.read_text()):
        file.write_text(f"classes: [cat]\ntrain: [{entry}]\n")
        read_description(file)


@per_document
def test_python_blocks_can_be_parsed(document: Path) -> None:
    for block in blocks(document, "python"):
        ast.parse(block)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages' first commands need; runs the bundled network."""
    skimage_data = Path(pytest.importorskip("skimage").__file__).parent / "data"
    chelsea = Image.open(skimage_data / "chelsea.png").convert("RGB")
    chelsea.save(tmp_path / "chelsea.png")
    for name in ("street.jpg", "holiday/a.jpg", "trip/day/b.png", "album/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        chelsea.resize((150, 100)).save(tmp_path / name)
    write_video(tmp_path / "clip.mp4", [0, 40])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLITZNET_ENGINE", "onnxruntime")
    return tmp_path


@pytest.mark.parametrize("name", ["README.md", "docs/getting_started.md"])
def test_python_examples_print_what_the_page_shows(photos: Path, name: str) -> None:
    shown = r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$"
    pairs = re.findall(shown, (ROOT / name).read_text(), re.M | re.S)
    assert pairs
    for code, expected in pairs:
        printed = StringIO()
        with redirect_stdout(printed):
            exec(code, {})
        assert printed.getvalue() == expected


def test_the_results_can_be_read_with_pandas(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas")
    assert main(["predict", "chelsea.png", "clip.mp4", "--quiet", "--score", "0.1"]) == 0
    page = ROOT / "docs/getting_started.md"
    (code,) = (block for block in blocks(page, "python") if "pandas" in block)
    names: dict[str, Any] = {}
    exec(code, names)
    printed = capsys.readouterr().out
    assert "chelsea.png" in printed
    assert "cat" in printed
    records, table = names["records"], names["table"]
    assert len(table) == sum(len(record["detections"]) for record in records)
    assert list(table.columns) == ["label", "label_id", "score", "box", "source"]


def test_objects_are_counted_per_frame(photos: Path) -> None:
    (code,) = (block for block in blocks(ROOT / "docs/video.md", "python") if "csv" in block)
    exec(code, {"net": blitznet.load()})
    assert Path("people.csv").read_text() == "time,people\n0.0,0\n0.04,0\n"


def test_the_script_without_blitznet_finds_what_the_predictor_finds(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ROOT / "docs/export.md"
    (find,) = re.findall(r"\$\(python -c '(.*)'\)", page.read_text())
    exec(find, {})
    shutil.copy(capsys.readouterr().out.strip(), photos)
    (script,) = blocks(page, "python")
    exec(script, {})
    scene = blitznet.load("blitznet300-mobile").predict("street.jpg")
    objects = zip(scene.label_names, scene.scores, scene.boxes, strict=True)
    lines = [f"{name} {round(float(score), 2)} {box.round()}" for name, score, box in objects]
    assert capsys.readouterr().out.splitlines() == lines
    assert lines
    with Image.open("map.png") as seg_map:
        assert np.mean(np.asarray(seg_map) == scene.seg_map) > 0.999


def test_the_research_page_trains_and_decodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, value in enumerate((0.5, 0.6, 0.7)):
        folder = Path(f"runs/ablation/{seed}")
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps({"mean_iou": value}))
    names: dict[str, Any] = {}
    for block in blocks(ROOT / "docs/research.md", "python"):
        exec(block, names)
    assert all(loss.isfinite() for loss in names["losses"])
    assert all(parameter.grad is not None for parameter in names["fresh"].upscale.parameters())
    assert len(names["detections"]) == 2
    assert names["seg_maps"].shape == (2, 38, 38)
    assert capsys.readouterr().out == "mean IoU 0.600 ± 0.100 over 3 seeds\n"


@pytest.mark.parametrize("page", PAGES_TO_RUN)
def test_predict_commands_run(photos: Path, page: str) -> None:
    ours = [our_words(words) for words in commands(ROOT / f"{page}.md")]
    predictions = [words for words in ours if words and words[0] == "predict"]
    ran = [words for words in predictions if "runs/" not in " ".join(words)]
    assert ran
    for words in ran:
        assert main([*words, "--quiet"]) == 0, words


def test_the_demo_prints_what_getting_started_shows(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = blocks(ROOT / "docs/getting_started.md", "text")[0]
    assert main(["demo"]) == 0
    printed = re.sub(r"^/.*/", ".../", capsys.readouterr().out, flags=re.M)
    printed = re.sub(r"/\S+(?=runs/)", "", printed)
    shares = re.compile(r"\d+%")  # they vary slightly between processors
    assert shares.sub("%", printed) == shares.sub("%", expected)


def test_the_record_in_getting_started_is_the_one_of_the_photo(photos: Path) -> None:
    (block,) = blocks(ROOT / "docs/getting_started.md", "json")
    assert main(["predict", "chelsea.png", "--quiet"]) == 0
    record = json.loads(Path("runs/predict/predictions.jsonl").read_text())
    shown = json.loads(block)
    assert shown.pop("ms").keys() == record.pop("ms").keys()
    assert shown.keys() == record.keys()
    for printed, found in zip(shown["detections"], record["detections"], strict=True):
        assert printed.pop("box") == pytest.approx(found.pop("box"), abs=1)
        assert printed == pytest.approx(found, abs=0.01)
    assert shown["drawn"] == record["drawn"]


@pytest.mark.slow
@pytest.mark.timeout(900)  # export takes a minute on a busy core
def test_the_quick_start_with_data_of_ones_own_runs(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ROOT / "docs/your_data.md"
    Path("pets.yaml").write_text(next(text for text in blocks(page, "yaml") if "pets" in text))
    for folder in ("pets/images", "pets/train/images", "pets/val/images"):
        Path(folder).mkdir(parents=True)
    image = Image.open("chelsea.png")
    for number, path in enumerate(("pets/images/a", "pets/train/images/b", "pets/val/images/c")):
        image.rotate(10 * number).save(f"{path}.png")
    for split in ("train", "val"):
        Path(f"pets/{split}/labels").mkdir()
        name = "b" if split == "train" else "c"
        Path(f"pets/{split}/labels/{name}.txt").write_text("0 0.5 0.5 0.8 0.8\n")
    Path("pets/names.txt").write_text("cat\ndog\n")
    image.save("new.jpg")
    monkeypatch.setenv("BLITZNET_ENGINE", "torch")
    start = page.read_text().partition("## Formats")[0]
    lines = [
        line for line in FENCE.findall(start)[0][1].splitlines() if line.startswith("blitznet")
    ]
    assert len(lines) == 5
    for line in lines:
        line = line.replace("--steps 1000", "--steps 1 --batch 2 --workers 0")
        assert main(shlex.split(line)[1:]) == 0, line


@pytest.mark.parametrize("number", [0, 1, 2])
def test_table_commands_run(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [words for words in commands(ROOT / "docs/experiments.md") if "table" in words]
    monkeypatch.chdir(tmp_path)
    assert main(lines[number][1:]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 3
