"""Gradients of each epoch in the history: mean and largest norm, largest element, all before clipping."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training import DIRECT, TRAINING, files, job, model, train  # noqa: F401

from calopipe.records.history import read_history
from calopipe.training.gradients import Gradients, largest_element

COLUMNS = ("grad_norm", "largest_grad_norm", "largest_grad_element")


def flow(**training: object) -> dict:
    return {"flow": {**DIRECT["flow"], "training": {**TRAINING, "epochs": 3, **training}}}


def history(files: dict[str, Path], out: Path, **training: object):  # noqa: F811
    train(model(flow(**training)), "flow", job(files["train"], files["val"], out))
    return read_history(next(out.rglob("*.csv")))


def test_figures_by_hand() -> None:
    found = Gradients()
    assert found.columns() == {}
    for norm, largest in ((3.0, -0.0), (5.0, 4.5), (1.0, 0.5)):
        found.add(torch.tensor(norm, requires_grad=True), torch.tensor(largest))
    assert found.columns() == {"grad_norm": 3.0, "largest_grad_norm": 5.0, "largest_grad_element": 4.5}
    found.add(torch.tensor(math.nan), torch.tensor(math.nan))
    found.add(torch.tensor(1.0), torch.tensor(1.0))
    assert all(math.isnan(value) for value in found.columns().values()), "what diverged stays seen"


def test_the_largest_element_may_be_negative_and_in_any_tensor() -> None:
    gradients = [torch.tensor([[0.5, -1.0]]), torch.tensor([2.0, -7.0, 3.0]), torch.tensor(4.0)]
    assert largest_element(gradients).item() == 7.0
    assert largest_element([-g for g in gradients]).item() == 7.0
    assert largest_element(gradients[:1]).item() == 1.0
    assert largest_element([torch.empty(0), *gradients]).item() == 7.0  # a triangle of one column is empty


def test_history_holds_what_the_optimiser_was_given(files, tmp_path, monkeypatch) -> None:  # noqa: F811
    seen: list[tuple[float, float]] = []
    step = torch.optim.AdamW.step

    def spy(self, closure=None):
        loss = step(self, closure)  # the closure computes the gradients
        flat = torch.cat([p.grad.flatten() for group in self.param_groups for p in group["params"]])
        seen.append((float(flat.norm()), float(flat.abs().max())))
        return loss

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    found = history(files, tmp_path)
    norms, elements = np.array(seen).T.reshape(2, 3, -1)
    for name, expected in zip(COLUMNS, (norms.mean(1), norms.max(1), elements.max(1)), strict=True):
        np.testing.assert_allclose(found.columns[name], expected, rtol=1e-5)
    assert found.largest_norms[""].tolist() == found.columns["largest_grad_norm"].tolist()
    assert list(found.norms) == list(found.largest_elements) == [""]


def test_figures_are_those_before_clipping(files, tmp_path) -> None:  # noqa: F811
    whole = {"epochs": 1, "batch_size": 10_000}  # one step, of the same weights
    free, clipped = (history(files, tmp_path / f"{c}", **whole, gradient_clip=c) for c in (None, 1e-3))
    for name in COLUMNS:
        assert free.columns[name] == clipped.columns[name] and free.columns[name] > 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_on_a_gpu() -> None:
    gradients = [torch.randn(50, 7), -5 * torch.rand(3)]
    assert largest_element([g.cuda() for g in gradients]).item() == largest_element(gradients).item()
