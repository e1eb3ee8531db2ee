"""Compare generated columns with the test rows."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import ClassifierConfig, HistogramConfig
    from calopipe.evaluation.columns import evaluate_columns

    settings = snakemake.params.settings
    trees = settings["classifier"]
    evaluate_columns(
        Path(snakemake.input.reference),
        Path(snakemake.input.sample),
        config=HistogramConfig(**settings["histograms"]),
        classifier=None if trees is None else ClassifierConfig(**trees),
        others=Path(snakemake.input.others),
        halved=settings.get("halved", False),
        seed=settings["seed"],
        histograms=Path(snakemake.output.histograms),
        scores=Path(snakemake.output.scores),
    )
