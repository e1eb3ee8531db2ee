"""Reflections and rotations of a detector's cells: what they keep of showers, and which detectors have them."""

from __future__ import annotations

import numpy as np
import pytest

from calopipe.errors import GeometryError
from calopipe.geometry import Geometry, Layer, load_geometry, symmetries

SQUARE = Geometry("square", "cartesian", (Layer(0, (-2.0, 0.0, 2.0), (-2.0, 0.0, 2.0)),))


def test_cartesian_cells_are_reflected_along_either_index() -> None:
    found = symmetries(SQUARE, reflections=True, rotations=False)
    assert found.tolist() == [[0, 1, 2, 3], [2, 3, 0, 1], [1, 0, 3, 2], [3, 2, 1, 0]]
    calogan = symmetries(load_geometry("calogan"), reflections=True, rotations=False)
    assert calogan.shape == (4, 504) and all(set(p.tolist()) == set(range(504)) for p in calogan)
    x = np.arange(504)
    assert {x[p][0] for p in calogan} == {0, 95, 2 * 96, 3 * 96 - 1}


def test_square_cells_are_rotated_by_quarter_turns() -> None:
    found = symmetries(SQUARE, reflections=False, rotations=True)
    assert found.tolist() == [[0, 1, 2, 3], [1, 3, 0, 2], [3, 2, 1, 0], [2, 0, 3, 1]]
    assert len(symmetries(SQUARE, reflections=True, rotations=True)) == 8
    assert len(symmetries(load_geometry("electron_gun_32"), reflections=True, rotations=True)) == 8


def test_layers_around_the_axis_turn_together() -> None:
    """Layers of 4 and 2 cells in alpha, of 2 in r: the smallest angle that both can is half a turn; a layer of one cell always can."""
    edges = {n: tuple(np.linspace(-np.pi, np.pi, n + 1)) for n in (1, 2, 4)}
    layers = (Layer(0, edges[4], (0.0, 1.0, 2.0)), Layer(1, edges[2], (0.0, 1.0)), Layer(2, edges[1], (0.0, 1.0)))
    found = symmetries(Geometry("rings", "cylindrical", layers), reflections=False, rotations=True)
    assert found.tolist() == [[*range(11)], [4, 5, 6, 7, 0, 1, 2, 3, 9, 8, 10]]
    both = symmetries(Geometry("rings", "cylindrical", layers), reflections=True, rotations=True)
    assert [6, 7, 4, 5, 2, 3, 0, 1, 9, 8, 10] in both.tolist() and len(both) == 4


@pytest.mark.parametrize(
    ("name", "n"), [("calochallenge1_photons", 10), ("calochallenge2", 16), ("calochallenge3", 50)]
)
def test_detectors_of_the_challenge_turn_and_keep_rings_layers_and_neighbours(name: str, n: int) -> None:
    geometry = load_geometry(name)
    found = symmetries(geometry, reflections=True, rotations=True)
    assert len(found) == 2 * n
    eta, phi = geometry.eta, geometry.phi
    radius = np.hypot(eta, phi)
    for permutation in found[[0, 1, n, -1]]:
        assert np.array_equal(np.sort(permutation), np.arange(geometry.n_voxels))
        assert np.array_equal(geometry.layer_index[permutation], geometry.layer_index)
        assert np.allclose(radius[permutation], radius)
        turning = np.isin(geometry.layer_index, [i for i, (cells, _) in enumerate(geometry.layer_shapes) if cells > 1])
        some = np.flatnonzero(turning)[:: max(1, geometry.n_voxels // 50)]
        before = np.hypot(eta[some][:, None] - eta[some], phi[some][:, None] - phi[some])
        moved = permutation[some]
        after = np.hypot(eta[moved][:, None] - eta[moved], phi[moved][:, None] - phi[moved])
        assert np.allclose(before, after, atol=1e-6 * radius.max())


@pytest.mark.parametrize("cells", [((-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0)), ((0.0, 1.0, 2.0), (0.0, 1.0, 2.0, 3.0))])
def test_cells_that_are_not_square_do_not_turn(cells: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
    geometry = Geometry("strips", "cartesian", (Layer(7, *cells),))
    with pytest.raises(GeometryError, match=r"'strips': rotations need square cells.*in layer 7"):
        symmetries(geometry, reflections=False, rotations=True)


def test_without_either_showers_stay_as_they_are() -> None:
    assert symmetries(SQUARE, reflections=False, rotations=False).tolist() == [[0, 1, 2, 3]]
