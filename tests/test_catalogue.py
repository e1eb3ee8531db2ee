"""The repository is laid out as the Snakemake workflow catalogue expects, and can be used as a module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

MODULE = """
configfile: "config/config.yaml"


module calopipe:
    snakefile:
        "{root}/workflow/Snakefile"
    config:
        config


use rule * from calopipe
"""


def test_layout(repository: Path) -> None:
    usage = yaml.safe_load((repository / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["software-stack-deployment"]["conda"] and list((repository / "envs").glob("*.yaml"))
    for path in ("workflow/Snakefile", "config/README.md"):
        assert (repository / path).is_file()
    assert list((repository / "workflow" / "rules").glob("*.smk"))
    assert yaml.safe_load((repository / "config" / "config.yaml").read_text())["study"] == "demo"
    readme = (repository / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme


def test_rules_are_a_module(repository: Path, tmp_path: Path) -> None:
    for folder in ("workflow", "config"):
        (tmp_path / folder).mkdir()
    (tmp_path / "workflow" / "Snakefile").write_text(MODULE.format(root=repository))
    assert MODULE.format(root="/path/to/calopipe") in (repository / "config" / "README.md").read_text()
    (tmp_path / "config" / "config.yaml").write_text((repository / "config" / "config.yaml").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and "results/report/demo/index.html" in done.stdout, done.stdout + done.stderr


def test_github_runs_the_same_checks(repository: Path) -> None:
    jobs = yaml.safe_load((repository / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step] == [".ci/run"]
