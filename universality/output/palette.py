"""Colours, and how verdicts look and read wherever they are shown."""

from __future__ import annotations

from collections.abc import Mapping

from universality.judge.decide import Verdict

# Okabe and Ito 2008: told apart with the common colour-vision deficiencies.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, PALE, DARK = "#8A8A8A", "#E4E4E4", "#505050"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
# Of families: five more, in the order in which neighbours, and every seventh, which has the same shape, are farthest apart in CIELAB,
# with red-green deficiencies too (Machado et al. 2009). All but black stand out from white and from dark paper.
FAMILIES = (
    BLUE, VERMILLION, PURPLE, BLACK, SKY, GREEN, ORANGE, "#17BECF", "#AA3377", "#A0522D", "#7B5CD6", "#FF6F91",
)  # fmt: skip
DARK_INK, LIGHT_INK = "#111111", "#ffffff"

_LOOKS: Mapping[Verdict, tuple[str, str, str]] = {
    "present": (GREEN, "\N{CHECK MARK}", "the claim holds"),
    "absent": (VERMILLION, "\N{BALLOT X}", "it does not hold"),
    "inconclusive": (SKY, "?", "not enough evidence"),
    "invalid": (PURPLE, "!", "a control failed, or the effect has no meaning"),
    "not applicable": (PALE, "n/a", "cannot be asked"),
    "diverged": (YELLOW, "D", "training diverged"),
    "failed": (ORANGE, "F", "a run raised an error"),
    "crashed": (BLUE, "C", "a run was killed"),
    "timeout": (GREY, "T", "a run took too long"),
    "missing": ("#FFFFFF", "M", "nothing was run"),
}
COLOURS: Mapping[Verdict, str] = {verdict: colour for verdict, (colour, _, _) in _LOOKS.items()}
MARKS: Mapping[Verdict, str] = {verdict: mark for verdict, (_, mark, _) in _LOOKS.items()}
MEANINGS: Mapping[Verdict, str] = {verdict: meaning for verdict, (_, _, meaning) in _LOOKS.items()}


def slug(verdict: str) -> str:
    """A verdict as the name of a CSS class."""
    return "v-" + verdict.replace(" ", "-")


def ink(colour: str) -> str:
    """Dark or light, whichever contrasts more.

    >>> ink("#0072B2"), ink("#F0E442")
    ('#ffffff', '#111111')
    """
    return max((DARK_INK, LIGHT_INK), key=lambda text: contrast(text, colour))


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, from 1 to 21 (WCAG 2).

    >>> round(contrast("#000000", "#ffffff"))
    21
    """
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
