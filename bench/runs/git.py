"""What git says of the project's own files."""

import subprocess

from bench.runs import catalogue


def git(*arguments: str) -> str | None:
    """Return what git prints about the project; None without git, or in another's repository."""
    if _git("rev-parse", "--show-toplevel") != str(catalogue.ROOT.resolve()):
        return None  # an archive of the project, unpacked inside somebody's repository
    return _git(*arguments)


def commit() -> str | None:
    """Return the commit that is checked out; None as for ``git``."""
    return git("rev-parse", "HEAD")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=catalogue.ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
