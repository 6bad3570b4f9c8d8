"""Tables that are recognised as a whole: the files of programs in which a column's name alone would mislead.

Names that are not listed here, or come alone, are understood one by one (see `metamiq.datasets.aliases`). What is done
with the rows of a layout is in `metamiq.datasets.layout_rows`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Block:
    """Columns that a program fills with 0 in analyses of another kind, and by which of them that is told."""

    told_by: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one program's table.

    Attributes
    ----------
    program : str
        Name for messages.
    source : str
        Address of the file that the names were compared with.
    signs : tuple of set of str
        A header that holds all of one of these sets is such a table.
    names : mapping of str to str
        Column -> our name; where two columns have one meaning, the first that is there is taken.
    left : mapping of str to str
        Columns that are kept under their own name, and why.
    analysis : tuple of str
        Columns that tell one analysis from another; rows of several must not be pooled together.
    summaries : tuple of str
        Columns that are filled only in rows that sum up others.
    blocks : tuple of Block
        Columns that hold 0 where an analysis does not use them.
    alike : tuple of str
        Columns of which a user must know when they differ within an analysis.
    note : str
        What a user must know of every such table.
    """

    program: str
    source: str
    signs: tuple[frozenset[str], ...]
    names: Mapping[str, str]
    left: Mapping[str, str] = field(default_factory=dict)
    analysis: tuple[str, ...] = ()
    summaries: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    alike: tuple[str, ...] = ()
    note: str = ""


def _block(*columns: str) -> Block:
    return Block(columns, columns)


_RATIO = "on the scale of the forest plot, where a ratio is no logarithm"

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "RevMan Web (data rows)",
        # The columns of 501 published files `CD...-data-rows.csv`, counted; rows of one beside it.
        "github.com/mahmood789/Pairwise70, analysis/output/column_frequency.csv",
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
        blocks=(
            # GIV SE is not 0 in some analyses of counts; GIV Mean is.
            Block(("GIV Mean",), ("GIV Mean", "GIV SE")),
            _block("Experimental mean", "Experimental SD", "Control mean", "Control SD"),
            _block("Experimental cases", "Control cases"),
        ),
        alike=("Applicability",),
    ),
    Layout(
        "RevMan 5 (analysis data)",
        "github.com/guido-s/meta, inst/extdata/Fleiss93_CR.csv",
        (frozenset({"Comparison Number", "Outcome Number"}), frozenset({"Total 1", "Total 2"})),
        {
            "Name": "study", "Year of study": "year",
            "Mean 1": "m1i", "SD 1": "sd1i", "Total 1": "n1i", "Mean 2": "m2i", "SD 2": "sd2i", "Total 2": "n2i",
            "Events 1": "ai", "Events 2": "ci",
        },
        {
            "Variance": "it belongs to O-E", "Effect Estimate": _RATIO, "SE": _RATIO,
            "CI Start": _RATIO, "CI End": _RATIO,
        },
        ("Comparison Number", "Outcome Number"),
        summaries=(
            "Data Type", "Statistical Method", "Effect Measure", "Analysis Model", "Q", "P(Q)", "I\u00b2(Q)",
            "Tau\u00b2", "Z", "P(Z)", "Qint", "P(Qint)", "I\u00b2(Qint)", "df", "Group Label 1", "Group Label 2",
        ),
        blocks=(_block("Mean 1", "SD 1", "Mean 2", "SD 2"), _block("Events 1", "Events 2")),
    ),
    Layout(
        "Metapsy",
        "github.com/metapsy-project/data-adhd-psyctr, data.csv",
        (frozenset({".g", ".g_se"}), frozenset({"condition_arm1", "condition_arm2"})),
        {
            "study": "study", ".g": "yi", ".g_se": "sei", "precalc_g": "yi", "precalc_g_se": "sei",
            "mean_arm1": "m1i", "sd_arm1": "sd1i", "n_arm1": "n1i", "totaln_arm1": "n1i", ".totaln_arm1": "n1i",
            "mean_arm2": "m2i", "sd_arm2": "sd2i", "n_arm2": "n2i", "totaln_arm2": "n2i", ".totaln_arm2": "n2i",
            "event_arm1": "ai", ".event_arm1": "ai", "event_arm2": "ci", ".event_arm2": "ci",
        },
    ),
    Layout(
        "MetaInsight (wide)",
        "github.com/CRSU-Apps/MetaInsight, inst/extdata/binary_wide.csv and Cont_wide.csv",
        (frozenset({"T.1", "T.2", "N.1", "N.2"}),),
        {
            "Study": "study", "Mean.1": "m1i", "SD.1": "sd1i", "N.1": "n1i", "Mean.2": "m2i", "SD.2": "sd2i",
            "N.2": "n2i", "R.1": "ai", "R.2": "ci",
        },
        analysis=("T.1", "T.2"),
        note="arm 1 (T.1) is compared with arm 2 (T.2); arms 3 and more are not used",
    ),
    Layout(
        "MetaInsight (long)",
        "github.com/CRSU-Apps/MetaInsight, Binary_long.csv and inst/extdata/continuous_long.csv",
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
