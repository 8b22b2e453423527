"""MkDocs hook: turns links to files outside docs/, which are not on the site, into plain text."""

import re
from typing import Any

LINK_OUT = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]*)[^)]*\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace `[figures](../results/x.json)` by ``figures (`results/x.json`)``.

    Args:
        markdown: text of a page.

    Returns:
        The text without links that leave docs/.
    """
    return LINK_OUT.sub(r"\1 (`\2`)", markdown)
