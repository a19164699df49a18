"""Colours of a method on light and on dark ground: the same hue, at a lightness that either shows."""

from __future__ import annotations

from seaborn.external import husl

from bnnbench.reporting.figures.palette import LIGHTNESS, PALER, Member


def both(member: Member) -> tuple[str, str]:
    """On light ground as in all figures, and on dark ground: lighter, shades in the same order."""
    turn, step = divmod(member.place, len(LIGHTNESS))
    lightness = 25 + 0.83 * LIGHTNESS[step]
    return member.color, husl.husl_to_hex(member.family.hue, member.family.saturation * PALER**turn, lightness)
