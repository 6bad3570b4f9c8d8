"""How each number came about, for a reader who wants to check or to learn it."""

from metamiq.explaining.explain import explain

__all__ = ["explain"]
