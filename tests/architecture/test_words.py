"""One term for one thing: no term that the glossary rejects is in code or pages."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs/glossary.md"
# Keys in files of earlier versions, a deprecated name, and YAML keys of users.
KEYS = re.compile(
    r"SSD: default boxes, prior boxes|max_pictures"
    r"|\bpictures(_with_\w+|_per_second)?\b(?=['\"\]:`.=])"
    r"|(?<=['\"])(same-|empty-)?picture(?=['\"])|(?<=[._])pictures\b"
)
# Unclear or foreign idioms.
RIDDLES = (
    "no number", "is told", "are told", "what would hurt", "broken off", "passed over", "of equals",
    "a image", "learnt", "veil", "is what a run is after", "each, at least",
)  # fmt: skip


def rejected() -> list[str]:
    """The third column of the glossary, and the idioms."""
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| ([^|]+) \|$", GLOSSARY.read_text(), re.M)
    phrases = [phrase.strip() for cell in rows[2:] for phrase in cell.split(",") if phrase.strip()]
    return [*phrases, *RIDDLES]


def files() -> Iterator[Path]:
    yield from (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md")
    yield from (page for page in sorted((ROOT / "docs").glob("*.md")) if page != GLOSSARY)
    for ending in ("py", "yaml", "html", "js"):
        yield from sorted((ROOT / "src").rglob(f"*.{ending}"))


def test_the_glossary_has_its_forty_terms() -> None:
    terms = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]* ?\|$", GLOSSARY.read_text(), re.M)[2:]
    assert 40 <= len(terms) <= 55
    assert terms == sorted(terms, key=lambda term: term.lower())
    assert len(rejected()) > 20


def test_no_rejected_term_is_used() -> None:
    phrases = "|".join(r"\s+(?:# )?".join(phrase.split()) for phrase in rejected())
    pattern = re.compile(rf"(?<![a-z])(?:{phrases})s?(?![a-z])")
    found = []
    for path in files():
        text = KEYS.sub("", path.read_text()).lower()
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match[0]}")
    assert not found
