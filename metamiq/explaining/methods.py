"""The methods paragraph of a fit: how it was computed, from the settings that the fit holds, with their references."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import metamiq
from metamiq.explaining import methods_mean as mean
from metamiq.explaining import methods_models as models
from metamiq.explaining.references import REFERENCES

_CITED = re.compile(r"@(\w+)")


@dataclass(frozen=True, slots=True)
class MethodsParagraph:
    """How an analysis was done.

    Attributes
    ----------
    sentences : tuple of str
        What was done, in order.
    references : tuple of str
        The publications that the sentences cite, in full, by name.
    software : str
        A sentence on the program and its version.
    """

    sentences: tuple[str, ...]
    references: tuple[str, ...]
    software: str = f"Computed with metamiq {metamiq.__version__}."

    @property
    def text(self) -> str:
        """The sentences as one paragraph, the software last."""
        return " ".join([*self.sentences, self.software])

    def __repr__(self) -> str:
        return f"MethodsParagraph({len(self.sentences)} sentences, {len(self.references)} references)"

    def __str__(self) -> str:
        return "\n".join([self.text, *(["", "References", *self.references] if self.references else [])])

    def to_dict(self) -> dict[str, Any]:
        """The same as data that JSON can hold."""
        return {"text": self.text, "references": list(self.references)}


def methods_paragraph(fit: Any) -> MethodsParagraph:
    """Write the methods paragraph of a fit from the settings that it holds.

    The formula of the effect sizes and their variances is not taken on trust: it is named only where it gives every
    yi and vi of the table.

    Parameters
    ----------
    fit : PooledEffect, BoundedFit, MetaRegression, LocationScaleFit, Subgroups, MultilevelFit, BayesianEffect
        Any fit, also from `mantel_haenszel`, `peto` and `glmm`.

    Returns
    -------
    MethodsParagraph
        ``text`` and ``references``; printing it shows both.

    Raises
    ------
    ValueError
        If `fit` is no fit.

    Examples
    --------
    >>> from metamiq.pooling.models import random_effects
    >>> said = methods_paragraph(random_effects(yi=[0.1, 0.5, 0.9], vi=[0.04, 0.02, 0.05], method="DL", test="z"))
    >>> print(said.sentences[1])
    3 effect sizes from 3 studies were pooled in a random-effects model.
    >>> print(said.sentences[2])
    The between-study variance tau2 was estimated by the method of DerSimonian and Laird (DL; DerSimonian & Laird 1986).
    """
    for kind in type(fit).__mro__:
        if kind.__name__ in _WRITERS:
            return written(_WRITERS[kind.__name__](fit))
    raise ValueError(f"methods_paragraph takes a fit, such as random_effects gives, not a {type(fit).__name__}.")


def written(sentences: Iterable[str]) -> MethodsParagraph:
    """Put in the short form of each reference (``@key``) and collect the full ones; a repeated sentence stands once."""
    keys: set[str] = set()

    def short(match: re.Match[str]) -> str:
        key = match.group(1)
        if key not in REFERENCES:  # a name in the data that holds an @
            return match.group(0)
        keys.add(key)
        return REFERENCES[key].short

    said = tuple(_CITED.sub(short, sentence) for sentence in dict.fromkeys(sentences))
    return MethodsParagraph(said, _by_name(REFERENCES[key].full for key in keys))


def _by_name(full: Iterable[str]) -> tuple[str, ...]:
    """In the order of a reference list: an author alone before the same one with others."""
    return tuple(sorted(set(full), key=lambda text: text.replace(" &", "~").replace(".,", ".~")))


def joined(*parts: MethodsParagraph | str) -> MethodsParagraph:
    """Several paragraphs as one; what was said is not said again."""
    sentences = [s for part in parts for s in ([part] if isinstance(part, str) else part.sentences)]
    references = [r for part in parts if not isinstance(part, str) for r in part.references]
    return MethodsParagraph(tuple(dict.fromkeys(sentences)), _by_name(references))


# By the name of the record, so that a kind of model is loaded only when it has been used.
_WRITERS: dict[str, Callable[[Any], list[str]]] = {
    "PooledEffect": mean.pooled_mean,
    "CommonEffect": mean.common_effect,
    "BinomialNormalEffect": mean.binomial_normal,
    "MetaRegression": models.regression,
    "Subgroups": models.subgroups,
    "MultilevelFit": models.multilevel,
    "LocationScaleFit": models.location_scale,
    "BayesianEffect": models.bayesian,
    "BoundedFit": models.bounded,
}
