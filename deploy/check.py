"""For deploy/check: parses OpenMetrics strictly, and extracts the expressions of a dashboard."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families


def openmetrics(path):
    """Fails if the text violates the format."""
    with open(path, encoding="utf-8", newline="") as page:
        families = list(text_string_to_metric_families(page.read()))
    samples = sum(len(family.samples) for family in families)
    if samples < 50:
        sys.exit(f"only {samples} samples")
    print(f"{len(families)} families, {samples} samples")


def expressions(path):
    """Prints a rules file with every expression, its variables replaced, for promtool to check."""
    with open(path, encoding="utf-8") as dashboard:
        panels = json.load(dashboard)["panels"]
    targets = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    filled = (target.replace("$__rate_interval", "5m").replace("$instance", ".*") for target in targets)
    rules = [{"record": f"dashboard:{n}", "expr": expr} for n, expr in enumerate(filled)]
    # JSON is valid YAML.
    json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, sys.stdout)


{"openmetrics": openmetrics, "expressions": expressions}[sys.argv[1]](sys.argv[2])
