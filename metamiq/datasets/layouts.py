"""Tables that are recognised as a whole: the files of programs in which a column's name alone would mislead.

What is known of each layout, and from where, stands beside it. Names that are not listed here, or come alone, are
understood one by one (see `metamiq.datasets.aliases`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one program's table.

    Attributes
    ----------
    program : str
        Name for messages.
    signs : tuple of set of str
        A header that holds all of one of these sets is such a table.
    names : mapping of str to str
        Column -> our name; where two columns have one meaning, the first that is there is taken.
    left : mapping of str to str
        Columns that are kept under their own name, and why.
    analysis : tuple of str
        Columns that tell one analysis from another; rows of several must not be pooled together.
    note : str
        What a user must know of every such table.
    """

    program: str
    signs: tuple[frozenset[str], ...]
    names: Mapping[str, str]
    left: Mapping[str, str] = field(default_factory=dict)
    analysis: tuple[str, ...] = ()
    note: str = ""


_RATIO = "on the scale of the forest plot, where a ratio is no logarithm"

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        # Data rows of the Cochrane data package, as the import function of R meta (read.cdir) names them.
        "RevMan Web (data rows)",
        (frozenset({"Experimental N", "Control N", "GIV Mean"}), frozenset({"Study", "Study year", "GIV Mean"})),
        {
            "Study": "study", "Study year": "year", "GIV Mean": "yi", "GIV SE": "sei",
            "Experimental mean": "m1i", "Experimental SD": "sd1i", "Experimental N": "n1i",
            "Control mean": "m2i", "Control SD": "sd2i", "Control N": "n2i",
            "Experimental cases": "ai", "Control cases": "ci",
        },
        {
            "Variance": "it belongs to O-E", "Mean": _RATIO, "CI start": _RATIO, "CI end": _RATIO,
        },
        ("Analysis group", "Analysis number"),
    ),
    Layout(
        # Analysis data exported by RevMan 5. Unconfirmed: the fields could be read of in manuals, no whole file.
        "RevMan 5 (analysis data)",
        (frozenset({"Comparison Number", "Outcome Number"}), frozenset({"Total 1", "Total 2"})),
        {
            "Study": "study", "Name": "study", "Year of study": "year",
            "Mean 1": "m1i", "SD 1": "sd1i", "Total 1": "n1i", "Mean 2": "m2i", "SD 2": "sd2i", "Total 2": "n2i",
            "Events 1": "ai", "Events 2": "ci",
        },
        {
            "Var": "it belongs to O-E", "Variance": "it belongs to O-E", "Effect Estimate": _RATIO, "SE": _RATIO,
            "CI start": _RATIO, "CI end": _RATIO, "CI Start": _RATIO, "CI End": _RATIO,
        },
        ("Comparison Number", "Outcome Number"),
    ),
    Layout(
        # The Metapsy data standard (docs.metapsy.org, Data Format): semicolons, decimal commas, NA.
        "Metapsy",
        (frozenset({".g", ".g_se"}), frozenset({"condition_arm1", "condition_arm2"})),
        {
            "study": "study", ".g": "yi", ".g_se": "sei", "precalc_g": "yi", "precalc_g_se": "sei",
            "mean_arm1": "m1i", "sd_arm1": "sd1i", "n_arm1": "n1i", "totaln_arm1": "n1i", ".totaln_arm1": "n1i",
            "mean_arm2": "m2i", "sd_arm2": "sd2i", "n_arm2": "n2i", "totaln_arm2": "n2i", ".totaln_arm2": "n2i",
            "event_arm1": "ai", ".event_arm1": "ai", "event_arm2": "ci", ".event_arm2": "ci",
        },
    ),
    Layout(
        # Wide tables of MetaInsight (the example files in its repository).
        "MetaInsight (wide)",
        (frozenset({"T.1", "T.2", "N.1", "N.2"}),),
        {
            "Study": "study", "Mean.1": "m1i", "SD.1": "sd1i", "N.1": "n1i", "Mean.2": "m2i", "SD.2": "sd2i",
            "N.2": "n2i", "R.1": "ai", "R.2": "ci",
        },
        note="arm 2 (T.2) is the comparison in every row, whatever treatment it names; arms 3 and more are not used",
    ),
    Layout(
        "MetaInsight (long)",
        (frozenset({"Study", "T", "N", "R"}), frozenset({"Study", "T", "N", "Mean", "SD"})),
        {"Study": "study"},
        {"N": "it is the size of one arm"},
        note="each row is one arm; to pool, put the two arms of a comparison in one row",
    ),
)  # fmt: skip


def layout_of(header: Collection[str]) -> Layout | None:
    """The layout that a header has, if it is known.

    Examples
    --------
    >>> layout_of(["study", ".g", ".g_se"]).program
    'Metapsy'
    """
    have = set(header)
    return next((layout for layout in LAYOUTS if any(sign <= have for sign in layout.signs)), None)


def meanings(layout: Layout, header: Sequence[str], taken: Collection[str]) -> dict[str, str]:
    """Column -> our name for the columns that a layout explains, without names that are `taken`."""
    found: dict[str, str] = {}
    for name, ours in layout.names.items():
        if name in header and ours not in taken and ours not in found.values():
            found[name] = ours
    return found


def several(layout: Layout, rows: Mapping[str, Sequence[object]]) -> str:
    """Why the rows must not be pooled together, in words; empty when they may be.

    Examples
    --------
    >>> web = layout_of(["Study", "Study year", "GIV Mean"])
    >>> several(web, {"Analysis group": [1, 1], "Analysis number": [1, 1]})
    ''
    """
    columns = [name for name in layout.analysis if name in rows]
    kinds = list(dict.fromkeys(zip(*(rows[name] for name in columns), strict=True)))
    if len(kinds) < 2:
        return ""
    shown = "; ".join(", ".join(f"{n} {v}" for n, v in zip(columns, kind, strict=True)) for kind in kinds[:10])
    return (
        f"The rows of one analysis can be pooled, but the table has {len(kinds)} analyses: {shown}"
        f"{' ...' if len(kinds) > 10 else ''}. Choose one, for instance "
        + " ".join(f'--where "{name}={value}"' for name, value in zip(columns, kinds[0], strict=True))
        + " (in Python: read_table(..., where={...}))."
    )
