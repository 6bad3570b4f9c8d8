"""Versions of the programs that the numbers depend on."""

from __future__ import annotations

from importlib.metadata import version

import metamiq


def versions() -> dict[str, str]:
    """Version of metamiq and of each library that computes or draws."""
    names = ("numpy", "scipy", "pandas", "matplotlib")
    return {"metamiq": metamiq.__version__, **{name: version(name) for name in names}}
