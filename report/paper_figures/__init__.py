"""The figures of papers, a file each, found by their names.

A file's docstring says what its figure shows, behind `Figure:` of which paper it is, and behind
`Reads:` what its records have to hold. Its one function is

    def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]

It is given the records of a suite's runs and of those that they begin with, or, if the file says
``EVERY_RECORD = True``, all that there are. It trains nothing, and yields nothing if they lack what
it reads; a file beside a record that is missing or damaged may raise ValueError. A picture's name
is the figure's, or begins with it and a hyphen. One of its columns, "records", names the files that
a point is drawn from, as ``_parts.record`` writes them.
"""
