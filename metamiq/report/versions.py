"""Versions of the programs that the numbers depend on."""

from __future__ import annotations

from metamiq.living import verification


def versions() -> dict[str, str]:
    """Version of metamiq and of each library that computes or draws."""
    return verification.versions("matplotlib")
