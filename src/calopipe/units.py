"""Units of the API and of every file calopipe writes: energies in MeV, lengths in mm, angles in rad, times in s.

Multiply a number by its unit on the way in (``5 * GeV`` is 5000 MeV), divide on the way out. Conversions of file
contents happen once, in :mod:`calopipe.io`.
"""

from __future__ import annotations

eV = 1e-6
keV = 1e-3
MeV = 1.0
GeV = 1e3
TeV = 1e6

mm = 1.0
cm = 10.0
m = 1e3

rad = 1.0
