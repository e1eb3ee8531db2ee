"""Networks: tensors in, tensors out. A folder per family, a file per model, registered by name; none knows files.

:mod:`calopipe.models.base` has the contracts, :mod:`~calopipe.models.building` what networks are built from and
:mod:`~calopipe.models.losses` terms of losses.
"""
