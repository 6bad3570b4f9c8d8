"""A document as one HTML page: one file, no network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from metamiq.report.document import Document
from metamiq.wording import true_minus

if TYPE_CHECKING:
    from markupsafe import Markup


def inline_svg(svg: str, name: str) -> str:
    """An SVG element whose ids cannot clash with those of another one in the same page."""
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    body = re.sub(r'(href=")#([^"]+)"', rf'\1#{name}-\2"', body)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)


def script_hash(script: str) -> str:
    """The source expression that lets a content-security policy run this script and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def json_for_page(value: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def data_link(name: str, content: str) -> str:
    """A file as the target of a link that downloads it."""
    kind = "application/json" if name.endswith(".json") else "text/csv"
    return f"data:{kind};charset=utf-8,{quote(content)}"


_LONG_WORD = re.compile(r"(\S{18,})")
_SEPARATOR = re.compile(r"(?<=[/._:;?&=-])(?=\w)")


def breakable(text: str) -> Markup:
    """Escaped text whose long words may be broken after a separator, and nowhere else: identifiers stay whole.

    Examples
    --------
    >>> print(breakable("NCT01234567, 10.1001/jama.1994 and https://example.org/a_long_name"))
    NCT01234567, 10.1001/jama.1994 and https://<wbr>example.<wbr>org/<wbr>a_<wbr>long_<wbr>name
    """
    from markupsafe import Markup, escape

    # Every second piece is a long word.
    pieces = enumerate(_LONG_WORD.split(text))
    return Markup("").join(
        Markup("<wbr>").join(_SEPARATOR.split(piece)) if i % 2 else escape(piece) for i, piece in pieces
    )


def page(document: Document) -> str:
    """The report as HTML. The script is allowed by its hash; nothing else can run or load."""
    import jinja2
    from markupsafe import Markup

    folder = resources.files("metamiq.report").joinpath("templates")
    files = {f.name: f.read_text(encoding="utf-8") for f in folder.iterdir() if f.is_file()}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(files),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["drawing"] = lambda figure: Markup(inline_svg(figure.svg, figure.name))
    environment.filters["breakable"] = breakable
    environment.filters["signs"] = true_minus
    environment.filters["json"] = lambda value: Markup(json_for_page(value))
    environment.filters["data_link"] = data_link
    script = files["report.js"]
    return environment.get_template("report.html.j2").render(
        document=document,
        style=Markup(files["report.css"]),
        script=Markup(script),
        script_hash=script_hash(script),
    )
