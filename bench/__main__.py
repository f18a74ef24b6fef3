"""The one program: python -m bench COMMAND ...; without a command, the list of what there is."""

import ast
import importlib
import signal
import sys
from pathlib import Path

from bench.runs.catalogue import ROOT, unknown
from bench.runs.process import settle

STAGES = ("train", "attack", "evaluate", "cost")
COMMANDS = {stage: f"bench.stages.{stage}" for stage in STAGES} | {
    "data": "bench.tools.data",
    "plan": "bench.tools.plan",
    "status": "bench.tools.status",
    "campaign": "bench.tools.campaign",
    "reproduce": "bench.tools.reproduce",
    "verify": "bench.tools.verify",
    "export": "bench.tools.robustbench",
    "benchmark": "bench.tools.benchmark",
    "docs": "bench.tools.docs",
    "method": "bench.tools.method",
    "schema": "bench.tools.schema",
    "report": "report.render",
    "records": "report.records",
    "early_warning": "report.early_warning",
    "story": "report.story",
    "papers": "report.papers",
    "refine": "report.refine",
    "figures": "report.suite_figures",
    "outside": "report.outside",
}
WORKING = (*STAGES, "campaign")  # that have more to lose than their output
AFTER = {"docs": "report.shapes"}  # the rest of a command, in a room that its first part cannot see


def main() -> None:
    """Run a command with the words behind it."""
    settle()
    command, *words = sys.argv[1:] or ["--help"]
    if command not in WORKING:  # end without a word where the reader goes away, as `head` does
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if command in ("-h", "--help"):
        print(listing())
        return
    if command not in COMMANDS:
        sys.exit(unknown("command", command, COMMANDS))
    try:
        if command in STAGES:
            importlib.import_module("bench.stages.running").main(command, words)
        else:
            for module in filter(None, (COMMANDS[command], AFTER.get(command))):
                importlib.import_module(module).main(words)
    except KeyboardInterrupt:
        print(f"{command}: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def listing() -> str:
    """List the commands, each with the first line of its module; imports none of them."""
    lines = ["usage: python -m bench COMMAND ...; COMMAND --help says more", ""]
    for command, module in COMMANDS.items():
        path = ROOT / Path(*module.split(".")).with_suffix(".py")
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        lines.append(f"  {command:10} {said.partition(chr(10))[0].partition(': ')[0].rstrip('.')}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
