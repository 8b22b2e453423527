"""Promises of the whole package: public names, size, documents."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import blitznet

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src/blitznet").rglob("*.py"))


def test_the_public_names_are_these() -> None:
    errors = ["BlitzNetError", "CheckpointError", "DivergenceError", "InputError", "LabelError",
              "ImageError", "RecipeError", "WorkerError"]  # fmt: skip
    results = ["BatchReport", "Detections", "Exported", "Metrics", "RefinedMasks", "Scene",
               "TrainingRun"]  # fmt: skip
    functions = ["build", "evaluate", "export", "load", "predict_batch", "refine_masks", "train"]
    research = ["Batch", "LossTerms", "RawPredictions", "decode_detections", "find_checkpoint",
                "joint_loss", "load_checkpoint", "normalize_images"]  # fmt: skip
    assert sorted(blitznet.__all__) == sorted(
        ["BatchPredictor", "BlitzNet", "Predictor", *errors, *results, *functions, *research]
    )
    for name in blitznet.__all__:
        assert getattr(blitznet, name).__name__ == name
        if name in errors:
            assert issubclass(getattr(blitznet, name), blitznet.BlitzNetError)
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        blitznet.lode  # noqa: B018


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "torchvision", "timm", "numpy", "PIL", "pydantic", "matplotlib", "yaml")
    code = (
        "import sys; from blitznet.cli import main; main(['--help']);"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for verb in ("predict", "batch", "train", "eval", "models", "demo"):
        assert verb in done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_public_function_and_class_has_a_docstring(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} in {path}"


def test_every_difference_that_the_code_cites_is_in_the_list() -> None:
    listed = set(re.findall(r"^\| (D\d+) ", (ROOT / "docs/differences.md").read_text(), re.M))
    cited = {number for path in SOURCES for number in re.findall(r"\bD\d+\b", path.read_text())}
    assert cited <= listed
    assert len(cited) > 5


def test_no_pickle_is_ever_loaded() -> None:
    for path in SOURCES:
        text = path.read_text()
        # Only tensors: `weights_only` runs no code from a file.
        assert "torch.load" not in re.sub(r"torch\.load\(.*weights_only=True\)", "", text), path
        assert "pickle" not in text.replace("No pickle is ever read", ""), path


def test_files_that_the_architecture_page_names_are_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    named = set(re.findall(r"[\w/]+\.py\b", text))
    existing = {str(path.relative_to(ROOT / "src/blitznet")) for path in SOURCES}
    names = {Path(path).name for path in existing}
    assert len(named) > 40
    for name in named:
        assert name in existing or ("/" not in name and name in names), name


def test_pinned_versions_are_names_and_versions_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    for line in lines:
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][\w.]*", line), line
