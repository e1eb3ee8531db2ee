"""All stages of the workflow, by the name of their rule."""

from __future__ import annotations

from collections.abc import Mapping

from calopipe.workflow import judging, making
from calopipe.workflow.stage import Stage

#: by the name of the rule
STAGES: Mapping[str, Stage] = {
    "fetch": making.Fetch(),
    "prepare": making.Prepare(),
    "train": making.Train(),
    "train_regressor": making.TrainRegressor(),
    "encode": making.Encode(),
    "remake": making.Remake(),
    "generate": making.Generate(),
    "take_over": making.TakeOver(),
    "generate_unrefined": making.GenerateUnrefined(),
    "reconstruct": making.Reconstruct(),
    "classify": judging.Classify(),
    "classify_reconstructed": judging.Classify(),
    "classify_unrefined": judging.Classify(),
    "power": judging.Power(),
    "compare": judging.Compare(),
    "bands": judging.Bands(),
    "weights": judging.Weights(),
    "observables": judging.Observables(),
    "health": judging.Health(),
    "metrics": judging.Metrics(),
    "calomplification": judging.Calomplification(),
    "regression": judging.Regression(),
    "epochs": judging.Epochs(),
    "epochs_of_files": judging.Epochs(),
    "latent_space": judging.LatentSpace(),
    "weight_spread": judging.WeightSpread(),
    "timing": judging.Timing(),
    "judge_columns": judging.JudgeColumns(),
    "report": judging.Report(),
}
