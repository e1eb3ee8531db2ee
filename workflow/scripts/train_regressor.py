"""Train an energy regressor of a dataset."""

from calopipe.scripting import stage, training

with stage(snakemake):
    from calopipe.config import RegressorStage
    from calopipe.training import TrainingJob, train_regressor

    settings = snakemake.params.settings
    train_regressor(RegressorStage(**settings["regressor"]), settings["name"], TrainingJob(**training(snakemake)))
