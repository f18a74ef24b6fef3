"""Write the schemas of suites and of records, for editors and for other tools."""

import argparse
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import TypeAdapter

from bench.runs import catalogue, evaluations
from bench.runs.catalogue import ROOT
from bench.runs.files import write_json
from bench.runs.record import AUTOATTACK, COST, TRAIN, Record
from bench.runs.suite import Suite


def main(words: Sequence[str] | None = None) -> None:
    """Write workflows/config/schema.yaml and results/schema.json."""
    argparse.ArgumentParser(prog="python -m bench schema", description=__doc__).parse_args(words)
    text = yaml.safe_dump(suite_schema(), sort_keys=False)
    (ROOT / "workflows/config/schema.yaml").write_text(text, encoding="utf-8")
    write_json(ROOT / "results/schema.json", record_schema())


def suite_schema() -> dict[str, Any]:
    """Make the JSON schema of suites, with the names of all optional evaluations."""
    schema = Suite.model_json_schema()
    words: dict[str, Any] = {word: {} for word in evaluations.WORDS}
    schema["properties"]["evaluations"]["items"] = {
        "anyOf": [
            {"type": "string", "pattern": f"^{evaluations.pattern()}$"},
            *(
                {"type": "object", "required": [kind],
                 "properties": {kind: {"enum": catalogue.names(room)}, **words}}
                for kind, room in catalogue.EVALUATIONS.items()
            ),
        ]
    }  # fmt: skip
    return schema


def record_schema() -> dict[str, Any]:
    """Make the JSON schema of records, with the names of all stages."""
    schema = TypeAdapter(Record).json_schema()
    fixed = [TRAIN, AUTOATTACK, COST]
    schema["properties"]["stage"]["pattern"] = f"^({'|'.join(fixed)}|{evaluations.pattern()})$"
    return schema
