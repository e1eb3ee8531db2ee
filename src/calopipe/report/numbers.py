"""Numbers for people: values rounded to what their errors allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

MINUS = "\N{MINUS SIGN}"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_measurement(value: float, error: float | None = None) -> str:
    """``0.5703 ± 0.0041`` with the digits of the error following the rule of the Particle Data Group.

    The error keeps two digits when its three leading digits are 100-354, one when they are 355-949; above, it is
    rounded up to 1000 and keeps two. The value is rounded to the same place. Without an error (or with zero) the value
    has three significant digits. Values below 1e-4 or from 1e5 on get a power of ten.
    """
    if not math.isfinite(value):
        return str(value)
    if error is None or not math.isfinite(error) or error <= 0:
        return format_value(value)
    exponent = math.floor(math.log10(error))
    leading = round(error / 10.0 ** (exponent - 2))
    place = exponent - 1 if leading <= 354 else exponent  # power of ten of the last digit kept
    largest = max(abs(value), error)
    power = math.floor(math.log10(largest)) if largest < 1e-4 or largest >= 1e5 else 0
    decimals = max(0, power - place)
    scale = 10.0**-power
    rounding = 10.0 ** max(0, place - power)
    number, spread = (round(x * scale / rounding) * rounding if rounding > 1 else x * scale for x in (value, error))
    text = f"{_sign(f'{number:.{decimals}f}')} ± {spread:.{decimals}f}"
    return f"({text}) × 10{str(power).translate(_SUPERSCRIPTS)}" if power else text


def format_value(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits: ``12.3``, ``0.00123``, ``1.23 × 10⁻⁵``."""
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if -4 <= power < 5:
        return _sign(f"{value:.{max(0, digits - 1 - power)}f}")
    mantissa = value / 10.0**power
    return f"{_sign(f'{mantissa:.{digits - 1}f}')} × 10{str(power).translate(_SUPERSCRIPTS)}"


def _sign(text: str) -> str:
    return text.replace("-", MINUS)


def format_bytes(size: int) -> str:
    """``1.4 MB`` (powers of 1000)."""
    if size < 1000:
        return f"{size} B"
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.3g} {unit}"


def format_duration(seconds: float) -> str:
    """``42 s``, ``7.5 min``, ``2.4 h``."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def format_count(number: int) -> str:
    """``812``, ``15.4 k``, ``2.31 M``: three significant digits."""
    if number < 1000:
        return str(number)
    amount = float(number)
    for unit in ("", "k", "M", "G"):
        if float(f"{amount:.3g}") < 1000 or unit == "G":
            break
        amount /= 1000
    return f"{amount:.3g} {unit}".rstrip()


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as columns of a terminal, one line each."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    return "\n".join("  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip() for row in rows)
