"""A document as Markdown, with the content of the page except what needs a reader's hand."""

from __future__ import annotations

import re
from collections.abc import Mapping

from metamiq.report.document import (
    Block,
    Cell,
    Document,
    Explanations,
    Figure,
    Listed,
    Panel,
    Table,
    Terms,
    Text,
    Verdicts,
)
from metamiq.wording import true_minus

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def escaped(text: str) -> str:
    r"""Text whose characters mean nothing to Markdown or HTML, with true minus signs as in the page.

    Examples
    --------
    >>> print(escaped("<b> p_value"))
    \<b\> p\_value
    """
    return _SPECIAL.sub(r"\\\1", true_minus(" ".join(text.split())))


def markdown(document: Document, files: Mapping[str, str] | None = None) -> str:
    """The report as Markdown.

    Parameters
    ----------
    document : Document
        What to write.
    files : mapping of str to str, optional
        Where the file of each figure lies; without it the caption stands for the figure.
    """
    parts = [f"# {escaped(document.title)}", *(escaped(sentence) for sentence in document.answer)]
    for section in document.sections:
        blocks = [text for block in section.blocks if (text := _block(block, files or {}))]
        if any(not isinstance(b, Text) for b in section.blocks) and not _has_substance(section.blocks):
            continue
        parts += [f"## {escaped(section.heading)}", *blocks]
    return "\n\n".join(parts) + "\n"


def _has_substance(blocks: tuple[Block, ...]) -> bool:
    """Whether anything is left on paper: a calculator and files to download are not."""
    return any(isinstance(b, (Listed, Table, Figure, Verdicts, Terms, Explanations, Panel)) for b in blocks)


def _block(block: Block, files: Mapping[str, str]) -> str:
    if isinstance(block, Text):
        return escaped(block.text)
    if isinstance(block, Listed):
        return "\n".join([f"**{escaped(block.name)}**", "", *(f"- {escaped(item)}" for item in block.items)])
    if isinstance(block, Figure):
        caption = escaped(block.caption)
        return f"![{caption}]({files[block.name]})" if block.name in files else f"Figure: {caption}"
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Verdicts):
        return "\n\n".join(
            f"**{escaped(str(v['verdict']).upper())}: {escaped(str(v['quantity']))}**\n\nPublished: "
            f"{escaped(str(v['published']))} ({escaped(str(v['source']))}). Here: {escaped(str(v['ours']))}.\n\n"
            f"{escaped(str(v['reason']))}"
            for v in block.rows
        )
    if isinstance(block, Terms):
        return "\n".join(f"- **{escaped(word)}**: {escaped(meaning)}" for word, meaning in block.words.items())
    if isinstance(block, Explanations):
        return "\n\n".join(f"### {escaped(item.title)}\n\n{_indented(item.text)}" for item in block.items)
    if isinstance(block, Panel):
        return f"{escaped(block.description)} They are in the HTML page."
    return ""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in true_minus(text).splitlines())


def _table(table: Table) -> str:
    if not table.rows:
        return f"{escaped(table.caption)} There is no row."
    rule = [("---:" if cell.number else "---") for cell in table.rows[0]]
    lines = [_line([escaped(h) for h in table.head]), _line(rule)]
    lines += [_line([_cell(cell) for cell in row]) for row in table.rows]
    return f"{escaped(table.caption)}\n\n" + "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(cell: Cell) -> str:
    return f"[{escaped(cell.text)}](<{cell.href}>)" if cell.href else escaped(cell.text)
