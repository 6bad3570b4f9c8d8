"""Figures to files: the same bytes on every run, text as text, with alternative text for those who cannot see them."""

from __future__ import annotations

import io
import re
import sys
import threading
from collections import Counter
from pathlib import Path
from xml.sax.saxutils import escape

from matplotlib import rc_context
from matplotlib.figure import Figure

from metamiq.files import at_home, replace_file
from metamiq.plots.style import letters_of_other_fonts

_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_SETTINGS = threading.Lock()  # matplotlib's settings are those of all threads
_PDF_METADATA = ("CreationDate", "Creator", "Producer")


def alt_text_of(figure: Figure) -> str:
    """What the figure's Axes say about themselves: every plot function leaves its alternative text as their label."""
    return " ".join(str(ax.get_label()) for ax in figure.axes if ax.get_label() and not _internal(ax.get_label()))


def _internal(label: object) -> bool:
    return str(label).startswith(("_", "<"))


def svg_text(figure: Figure, *, title: str | None = None, description: str | None = None) -> str:
    """A figure as an SVG element, ready to stand inside an HTML page.

    Text stays text; `title` and `description` become ``<title>`` and ``<desc>``, which screen readers speak. By default
    they are the first sentence and the whole of what `alt_text_of` finds.

    Parameters
    ----------
    figure : Figure
        Any matplotlib figure.
    title, description : str, optional
        Alternative text.

    Returns
    -------
    str
        From ``<svg`` to ``</svg>``, without an XML declaration. The same figure gives the same text on every run.

    Examples
    --------
    >>> figure = Figure(figsize=(2, 1))
    >>> svg_text(figure, title="Nothing").count("<title>Nothing</title>")
    1
    """
    spoken = alt_text_of(figure)
    title = spoken.split(". ")[0] if title is None else title
    description = spoken if description is None else description
    buffer = io.StringIO()
    with _SETTINGS, rc_context({"svg.hashsalt": "metamiq", "svg.fonttype": "none"}), letters_of_other_fonts():
        figure.savefig(buffer, format="svg", metadata=_METADATA)
    svg = buffer.getvalue()
    svg = _distinct_ids(svg[svg.index("<svg") :])
    end = svg.index(">")
    head, rest = svg[:end], svg[end + 1 :]
    said = f"\n <title>{escape(title)}</title>\n <desc>{escape(description)}</desc>"
    return f'{head} role="img">{said if title or description else ""}{rest}'


def release(figure: Figure) -> None:
    """Let go of a figure that has been written: pyplot, where it is loaded, keeps the figures it may have to show.

    Examples
    --------
    >>> release(Figure(figsize=(2, 1)))
    """
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)


def _distinct_ids(svg: str) -> str:
    """Number the ids that several artists share (each bound is a "bound"): in a document an id stands once."""
    seen: Counter[str] = Counter()

    def number(match: re.Match[str]) -> str:
        name = match.group(1)
        seen[name] += 1
        return f'id="{name}"' if seen[name] == 1 else f'id="{name}-{seen[name]}"'

    return re.sub(r'\bid="([^"]+)"', number, svg)


def save_svg(figure: Figure, path: str | Path, *, title: str | None = None, description: str | None = None) -> Path:
    """Write a figure as SVG; see `svg_text`. Returns the path.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_svg(Figure(figsize=(2, 1)), Path(folder) / "empty.svg").name
    'empty.svg'
    """
    text = '<?xml version="1.0" encoding="utf-8"?>\n' + svg_text(figure, title=title, description=description)
    path = at_home(Path(path))
    replace_file(path, text.encode("utf-8"))
    return path


def save_png(figure: Figure, path: str | Path, *, dpi: float = 200) -> Path:
    """Write a figure as PNG, `dpi` dots per inch, without the date or the program's name. Returns the path.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_png(Figure(figsize=(2, 1)), Path(folder) / "empty.png").name
    'empty.png'
    """
    path = at_home(Path(path))
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi, metadata={"Software": None, "Description": alt_text_of(figure)})
    replace_file(path, drawn.getvalue())
    return path


def save_pdf(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PDF with its fonts inside, without a date, as journals take it. Returns the path.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_pdf(Figure(figsize=(2, 1)), Path(folder) / "empty.pdf").name
    'empty.pdf'
    """
    path = at_home(Path(path))
    spoken = alt_text_of(figure)
    said = {"Title": spoken.split(". ")[0], "Subject": spoken} if spoken else {}
    drawn = io.BytesIO()
    with (
        _SETTINGS,
        rc_context({"pdf.fonttype": 42}),
    ):  # letters stay letters; one that the font lacks is told, for it is lost
        figure.savefig(drawn, format="pdf", metadata={**dict.fromkeys(_PDF_METADATA), **said})
    replace_file(path, drawn.getvalue())
    return path
