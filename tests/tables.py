"""The runs and tables that the report makes of a folder of made-up records."""

from report.collect import collect
from report.groups import groups


def collected(root):
    """The runs below root/published and root/runs, and those of root/plan.json."""
    return collect(published=root / "published", runs=root / "runs", plan=root / "plan.json").runs


def tables(root, **rest):
    return groups(collected(root), **rest)


def row_of(root, **rest):
    """The row of records that make one alone."""
    ((row,),) = (group.rows for group in tables(root, **rest))
    return row


def rows_of(root, **rest):
    """All rows by label."""
    return {row.label: row for group in tables(root, **rest) for row in group.rows}


def ids(row):
    """The ids of a row's notes."""
    return [note.id for note in row.notes]
