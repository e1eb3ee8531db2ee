"""A finished study as one folder or ZIP file that others can audit, check and continue: a Workflow Run RO-Crate."""
