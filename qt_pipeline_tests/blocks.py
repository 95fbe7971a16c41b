"""Generated parts of a Markdown page, between two comments that name them."""

import re
from collections.abc import Mapping
from pathlib import Path


def fill_blocks(page: Path, blocks: Mapping[str, str]) -> str:
    """Return the text of a page with each named block replaced by its new text.

    Raises:
        LookupError: the page does not have exactly one block of a name.
    """
    text = page.read_text(encoding="utf-8")
    for name, content in blocks.items():
        begin, end = f"<!-- {name}, written by `make generated` -->", f"<!-- end of {name} -->"
        block = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        text, count = block.subn(lambda _, new=f"{begin}\n\n{content}\n\n{end}": new, text)
        if count != 1:
            raise LookupError(f"{page.name} has {count} blocks {begin}")
    return text
