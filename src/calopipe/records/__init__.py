"""What stages hand on, each with its form on disk: scores, histograms, curves, judgements, findings, tables.

Metrics, evaluation, plots and report all read or write these and share nothing else; so this package is below all of them,
computes nothing, and never imports torch. Import from its modules: a stage's code is followed through them.
"""
