"""The rules by which data are checked, small and grouped by topic, and the columns that they read.

A rule reads only columns that are there; one that lacks its columns says nothing.
"""

from __future__ import annotations

from metamiq.living.rules import (
    dependence,
    direction,
    means,
    others,
    pooling_choices,
    reading,
    recompute,
    sizes,
    spread,
)
from metamiq.living.rules.columns import COLUMNS
from metamiq.living.rules.material import Hit, Line, Material, Plan, Rule

#: Every rule by its code.
RULES: dict[str, Rule] = {
    rule.code: rule
    for topic in (spread, means, sizes, direction, recompute, dependence, others, pooling_choices, reading)
    for rule in topic.RULES
}

__all__ = ["COLUMNS", "RULES", "Hit", "Line", "Material", "Plan", "Rule"]
