"""Write the schemas of suites and of records, for editors and for other tools."""

import argparse
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import TypeAdapter

from bench.runs import catalogue
from bench.runs.catalogue import ROOT
from bench.runs.files import write_json
from bench.runs.record import Record, stage_names
from bench.runs.suite import Suite


def main(words: Sequence[str] | None = None) -> None:
    """Write both."""
    argparse.ArgumentParser(prog="python -m bench schema", description=__doc__).parse_args(words)
    text = yaml.safe_dump(of_suites(), sort_keys=False)
    (ROOT / "workflows/config/schema.yaml").write_text(text, encoding="utf-8")
    write_json(ROOT / "results/schema.json", of_records())


def of_suites() -> dict[str, Any]:
    """Make the schema of suites, with the evaluations that there are."""
    schema = Suite.model_json_schema()
    schema["properties"]["evaluations"]["items"]["enum"] = catalogue.names(catalogue.EVALUATIONS)
    return schema


def of_records() -> dict[str, Any]:
    """Make the schema of records, with the stages that there are."""
    schema = TypeAdapter(Record).json_schema()
    schema["properties"]["stage"]["enum"] = stage_names()
    return schema
