"""What samples are called in plots and reports: showers are compared with Geant4's, columns with data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """Words for a data set.

    Attributes:
        label: of the reference, in legends; `reference`: within a sentence.
        one, many: what samples consist of. true_one, true_many: those of the reference.
        two: of two samples of the reference.
    """

    label: str
    reference: str
    one: str
    many: str
    true_one: str
    true_many: str
    two: str


SHOWERS = Wording(
    label="Geant4",
    reference="Geant4",
    one="shower",
    many="showers",
    true_one="a Geant4 shower",
    true_many="Geant4 showers",
    two="two Geant4 samples",
)
COLUMNS = Wording(
    label="Data",
    reference="the data",
    one="row",
    many="rows",
    true_one="a row of the data",
    true_many="rows of the data",
    two="two samples of the data",
)
