"""What the rules of the workflow ask: which runs a study has, and what each stage depends on.

Imported while the DAG is built: it uses levels 0-2 of the library only, never torch.
"""

from calopipe.workflow.environment import conda_environment, jobs_run_here, scripts_use
from calopipe.workflow.parts import RunKey
from calopipe.workflow.plan import Plan

__all__ = ["Plan", "RunKey", "conda_environment", "jobs_run_here", "scripts_use"]
