# A study, from fetched showers to its report. Everything that can be set stands in config.yaml (or --configfile FILE).
from snakemake.utils import min_version

min_version("9.13")

if "runs" not in config:  # a study given by --configfile replaces the demo study instead of mixing with it

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/generate.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    fetch,


rule all:
    default_target: True
    input:
        REPORT,


onsuccess:
    if Path(REPORT).exists():
        print(f"\nThe report of study '{PLAN.study.study}' is at {Path(REPORT).resolve()}", file=sys.stderr)
