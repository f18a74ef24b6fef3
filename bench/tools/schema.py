"""Write the schemas of suites and of records, for editors and for other tools."""

import argparse
from collections.abc import Sequence

import yaml
from pydantic import TypeAdapter

from bench.runs.catalogue import ROOT
from bench.runs.files import write_json
from bench.runs.record import Record
from bench.runs.suite import Suite


def main(words: Sequence[str] | None = None) -> None:
    """Write both."""
    argparse.ArgumentParser(prog="python -m bench schema", description=__doc__).parse_args(words)
    text = yaml.safe_dump(Suite.model_json_schema(), sort_keys=False)
    (ROOT / "workflows/config/schema.yaml").write_text(text, encoding="utf-8")
    write_json(ROOT / "results/schema.json", TypeAdapter(Record).json_schema())
