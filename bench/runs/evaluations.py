"""What a suite may list as evaluations, and the one name that each of them has. No torch.

An entry names a file of evaluation/attacks or evaluation/diagnostics, its settings, and whatever of
radius, norm and weights is not the run's or the file's own. It is written as a mapping,
``{attack: pgd, steps: 50, restarts: 10, eps: 6/255}``, as its name, ``pgd50_10-6_255``, which its
stage and its record bear, or as papers and pages print that name, ``pgd50_10 6/255``. The three
stand for each other, and `read` takes any of them.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from string import Formatter
from typing import Any, Literal, get_args

from bench.runs import catalogue
from bench.runs.catalogue import EVALUATIONS
from bench.runs.record import Config, Norm, Weights, radius
from bench.runs.settings import check_settings, published_settings

Kind = Literal["attack", "diagnostic"]
WINDOW = ("since", "until")
# of an entry, beside its file and the file's settings
WORDS = ("norm", "eps", "weights", "at", "every", *WINDOW)
DISTANCES = {"fooling_rate": "% fooled", "mean_l2": "L2 distance"}  # of attacks without bounds
SOURCE = "source"  # setting of an attack that is made on another run's network
NETWORKS = "bench/models"
NUMBER = r"\d+(?:\.\d+)?"
RADIUS = re.compile(rf"({NUMBER})(_255|/255)?")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One evaluation: what is measured, by which settings."""

    kind: Kind
    file: str
    settings: dict[str, Any]  # all that the file has
    norm: Norm | None = None  # None: the run's
    eps: str | None = None  # radius, as "6/255" or, in pixel units, "1.74"; None: the run's
    weights: Weights = "last"
    at: int | None = None  # update whose kept weights are measured; None: those of `weights`
    every: int | None = None  # updates between two measurements while training; None: at the end
    since: int | None = None  # first update of those; None: the initial weights
    until: int | None = None  # last one; None: that of training

    @functools.cached_property
    def name(self) -> str:
        """Name of the stage and of its record, of safe characters: "pgd100-l2-1.74"."""
        said = [self.norm.lower()] if self.norm else []
        said += [self.eps.replace("/", "_")] if self.eps else []
        said += [f"{key}_{_text(value)}" for key, value in self._unnamed()]
        said += (
            [f"weights_{self.weights}"] if self.weights != _weights(self.kind, self.file) else []
        )
        said += [f"at_{self.at}"] if self.at is not None else []
        return "-".join([self._filled(self._stem), *said])

    @property
    def spelt(self) -> str:
        """The name and, behind it, when it is measured while training: a suite's form."""
        said = [(key, getattr(self, key)) for key in ("every", *WINDOW)]
        return "-".join(
            [self.name, *(f"{key}_{value}" for key, value in said if value is not None)]
        )

    @property
    def printed(self) -> str:
        """The same name for people, as in papers: "l2 pgd100 1.74"."""
        first, *rest = self.name.split("-")
        norm = [rest.pop(0)] if self.norm else []
        return " ".join([*norm, first, *rest]).replace("_255", "/255")

    @property
    def title(self) -> str:
        """Heading of its column: "PGD-50-10 6/255"."""
        more = self.printed.split(" ")[1 + (self.norm is not None) :]
        norm = [self.norm] if self.norm else []
        return " ".join([*norm, self._filled(_stems(self.kind, self.file)[self._stem]), *more])

    @property
    def meaning(self) -> str:
        """Explanation of its column: what the file's docstring says behind "Meaning"."""
        return self._filled(catalogue.described(self.file, "Meaning", EVALUATIONS[self.kind]))

    @property
    def path(self) -> str:
        """Path of the file."""
        return f"{EVALUATIONS[self.kind]}/{self.file}.py"

    def constant(self, name: str) -> Any:
        """Read a constant of the file's class; None if it has none of this name."""
        return catalogue.class_constant(self.file, name, EVALUATIONS[self.kind])

    def column(self, number: str) -> str:
        """Name one of its numbers where those of several evaluations stand side by side."""
        return number if self.name == self.file else f"{self.name}.{number}"

    @property
    def _stem(self) -> str:
        """The first of the file's stems that holds every setting that departs from its default.

        Settings that no stem holds do not count; they follow behind.
        """
        stems = [*_stems(self.kind, self.file)]
        held = {field for stem in stems for field in _holes(stem)}
        departs = {key for key, _ in self._departing()} & held
        return next((stem for stem in stems if departs <= _holes(stem)), stems[-1])

    def _departing(self) -> Iterator[tuple[str, Any]]:
        defaults = _defaults(self.kind, self.file)
        yield from ((key, value) for key, value in self.settings.items() if value != defaults[key])

    def _unnamed(self) -> list[tuple[str, Any]]:
        return [(key, value) for key, value in self._departing() if key not in _holes(self._stem)]

    def _filled(self, template: str) -> str:
        return template.format_map({key: _text(value) for key, value in self.settings.items()})


def read(given: str | Mapping[str, Any]) -> Entry:
    """Read an entry from its name, from the name as it is printed, or from a mapping.

    Raises:
        ValueError: it names no file, no setting or no value that there is.
    """
    if isinstance(given, str):
        return _of_name(given)
    kinds = [kind for kind in get_args(Kind) if kind in given]
    if len(kinds) != 1:
        raise ValueError(
            f"{dict(given)} names no file; write {{attack: NAME}}, or diagnostic: NAME"
        )
    (kind,) = kinds
    file, known = given[kind], catalogue.names(EVALUATIONS[kind])
    if file not in known:
        raise ValueError(catalogue.unknown(kind, str(file), known))
    rest = {key: value for key, value in given.items() if key != kind}
    return _entry(kind, file, rest)


def lacking(entry: Entry, norm: str) -> str | None:
    """Say that an evaluation is not defined for runs of a norm; None if it is."""
    room = EVALUATIONS[entry.kind]
    if entry.norm or norm in catalogue.norms(entry.file, room):
        return None
    able = [name for name in catalogue.names(room) if norm in catalogue.norms(name, room)]
    return f"{entry.kind} {entry.file} has no {norm} form, only {', '.join(able)} have"


def source(entry: Entry, run: Config) -> Config | None:
    """Name the run on whose network an attack is made, as the run in all else; None if its own."""
    if SOURCE not in entry.settings:
        return None
    short = {"same": run.architecture} | catalogue.constant(entry.path, "SHORT")
    architecture = short.get(entry.settings[SOURCE], entry.settings[SOURCE])
    usual = run.width == catalogue.published_width(run.architecture)
    method = entry.settings["method"]
    return dataclasses.replace(
        run,
        architecture=architecture,
        width=catalogue.published_width(architecture) if usual else run.width,
        method=method,
        settings=published_settings(method, run.dataset),
        protocol=run.start.protocol if run.start else run.protocol,
        seed=entry.settings["source_seed"],
        start=None,
    )


def known() -> list[str]:
    """List the names of all files' evaluations, with the files' own settings."""
    return [_entry(kind, file, {}).name for kind, file in _files()]


def measures(entry: Entry) -> dict[str, str]:
    """Read the numbers that an evaluation finds beside accuracies, by name, and their units."""
    if entry.kind == "diagnostic":
        values = entry.constant("values")
        return {name: unit for name, (unit, *_) in values.items()}
    if entry.constant("bounded") is False:
        return {f"{entry.printed}_{end}": unit for end, unit in DISTANCES.items()}
    return {}


@catalogue.remembered
def pattern() -> str:
    """Return a regular expression for the names of all evaluations there can be."""
    stems = {re.escape(file) for _, file in _files()}
    readers = (regex for kind, file in _files() for regex, _ in _readers(kind, file))
    stems |= {re.sub(r"\?P<\w+>", "?:", regex) for regex in readers}
    return rf"(?:{'|'.join(sorted(stems))})(?:-[a-z0-9_.]+)*"


@catalogue.remembered
def _of_name(name: str) -> Entry:
    words = name.replace(" at ", " ").split(" ")
    if words[0].lower() in _norms():  # as in "l2 pgd100 1.74"
        words[:2] = words[1::-1]
    stem, *said = "-".join(words).split("-")
    for norm in _norms():  # as in "l2_pgd100 60/255"
        if stem.startswith(f"{norm}_"):
            stem, said = stem.removeprefix(f"{norm}_"), [norm, *said]
    for kind, file in _files():
        for regex, stem_of in _readers(kind, file):
            if found := re.fullmatch(regex, stem):
                filled = {key: found[key] for key in _holes(stem_of)}
                return _entry(kind, file, filled | _said(kind, file, said, name))
    raise ValueError(catalogue.unknown("evaluation", name, known()))


def _said(kind: str, file: str, said: list[str], name: str) -> dict[str, Any]:
    """Read what a name says behind its stem, by key."""
    keys = sorted({*_defaults(kind, file), *WORDS}, key=len, reverse=True)
    given: dict[str, Any] = {}
    for word in said:
        if word in _norms():
            given["norm"] = word
        elif RADIUS.fullmatch(word):
            given["eps"] = word
        else:
            key = next((key for key in keys if word.startswith(f"{key}_")), None)
            if key is None:
                raise ValueError(f"{name}: {catalogue.unknown(f'setting of {file}', word, keys)}")
            given[key] = _value(word.removeprefix(f"{key}_"))
    return given


def _entry(kind: Any, file: str, given: Mapping[str, Any]) -> Entry:
    """Check the values of an entry, by key."""
    words = {key: given[key] for key in WORDS if given.get(key) is not None}
    settings = {key: value for key, value in given.items() if key not in WORDS}
    checked = _defaults(kind, file) | check_settings(file, settings, EVALUATIONS[kind])
    norm = words.get("norm")
    if norm is not None:
        if str(norm).lower() not in _norms():
            raise ValueError(catalogue.unknown("norm", str(norm), get_args(Norm)))
        norm = _norms()[str(norm).lower()]
        if norm not in (allowed := catalogue.norms(file, EVALUATIONS[kind])):
            raise ValueError(f"{kind} {file} has no {norm} form, only {', '.join(allowed)}")
    weights = words.get("weights", _weights(kind, file))
    if weights not in get_args(Weights):
        raise ValueError(catalogue.unknown("weights", str(weights), get_args(Weights)))
    at, when = _at(kind, file, words), _when(kind, file, words)
    if when and (
        SOURCE in checked or catalogue.class_constant(file, "autoattack", EVALUATIONS[kind])
    ):
        raise ValueError(
            f"{kind} {file} cannot be measured while training; leave out every, or take another"
        )
    eps = _radius(words["eps"], norm) if "eps" in words else None
    entry = Entry(
        kind=kind, file=file, settings=checked, norm=norm, eps=eps, weights=weights, at=at, **when
    )
    if SOURCE in checked:
        _check_source(entry)
    return entry


def _at(kind: str, file: str, words: Mapping[str, Any]) -> int | None:
    """Read after which update the weights are taken; None if it is not said."""
    if "at" not in words:
        return None
    own = _weights(kind, file)
    more = [key for key in ("weights", "every") if key in words]
    if more := more + ([f"weights {own}"] if own != "last" else []):
        raise ValueError(
            f"{kind} {file} is to be measured at update {words['at']}, and has {more[0]} as well; "
            "leave one out"
        )
    return _update("at", words["at"], kind, file)


def _update(key: str, value: Any, kind: str, file: str, least: int = 0) -> int:
    """Read a number of updates."""
    if not str(value).isdecimal() or int(value) < least:
        raise ValueError(f"{key} is {value!r} of {kind} {file}; it is a number of updates")
    return int(value)


def _when(kind: str, file: str, words: Mapping[str, Any]) -> dict[str, int]:
    """Read when something is measured while training: every so many updates, in a window."""
    when = {
        key: _update(key, words[key], kind, file, least=key == "every")
        for key in ("every", *WINDOW)
        if key in words
    }
    if when and "every" not in when:
        raise ValueError(f"{kind} {file} has {' and '.join(when)}, and no every to go with it")
    if when.get("since", 0) > when.get("until", math.inf):
        raise ValueError(
            f"{kind} {file} is to be measured since update {when['since']} until {when['until']}; "
            "the first comes first"
        )
    return when


def _check_source(entry: Entry) -> None:
    """Check that the network and the method of an attack's source are there.

    Raises:
        ValueError: there is none of this name.
    """
    networks = ["same", *catalogue.constant(entry.path, "SHORT"), *catalogue.names(NETWORKS)]
    for key, there in ((SOURCE, networks), ("method", catalogue.names(catalogue.METHODS))):
        if entry.settings[key] not in there:
            raise ValueError(catalogue.unknown(key, entry.settings[key], there))


def _radius(given: Any, norm: str | None) -> str:
    """Write a radius, "6/255" or 1.74, in the one form that names have."""
    found = RADIUS.fullmatch(str(given).replace(" ", ""))
    if found is None:
        raise ValueError(f"eps is {given!r}; a radius is a text like 6/255, or a number like 0.5")
    eps = f"{_number(float(found[1]))}{'/255' if found[2] else ''}"
    value = radius(eps)
    if value <= 0 or (norm != "L2" and value > 1):
        hint = "" if norm else ", and one of L2 needs norm: L2"
        raise ValueError(f"eps is {given}; an Linf radius lies in (0, 1], like 6/255{hint}")
    return eps


def _number(value: float) -> str:
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _text(value: Any) -> str:
    """Write a setting's value in characters that are safe in a file's name; `_value` reads it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int | float):
        return _number(abs(value)) if value >= 0 else f"minus{_number(abs(value))}"
    return str(value)


def _value(text: str) -> Any:
    if text == "none":
        return None
    return text.replace("minus", "-") if re.fullmatch(rf"minus{NUMBER}", text) else text


def _norms() -> dict[str, Norm]:
    return {norm.lower(): norm for norm in get_args(Norm)}


def _files() -> list[tuple[str, str]]:
    return [(kind, file) for kind, room in EVALUATIONS.items() for file in catalogue.names(room)]


def _defaults(kind: str, file: str) -> dict[str, Any]:
    return catalogue.default_settings(file, EVALUATIONS[kind])


def _weights(kind: str, file: str) -> Any:
    return catalogue.class_constant(file, "weights", EVALUATIONS[kind]) or "last"


def _stems(kind: str, file: str) -> dict[str, str]:
    """Read the forms of a file's name, as "pgd{steps}", and of its title, as "PGD-{steps}"."""
    stems = catalogue.class_constant(file, "names", EVALUATIONS[kind])
    return stems or {file: catalogue.title(file, EVALUATIONS[kind])}


def _readers(kind: str, file: str) -> Iterator[tuple[str, str]]:
    """Yield a regular expression for each form of a file's name, the plain name first."""
    yield re.escape(file), file
    for stem in _stems(kind, file):
        regex = ""
        for text, hole, _, _ in Formatter().parse(stem):
            regex += re.escape(text) + (f"(?P<{hole}>{_values(kind, file, hole)})" if hole else "")
        yield regex, stem


def _values(kind: str, file: str, setting: str) -> str:
    """Return a regular expression for the values of a setting inside a stem."""
    annotation = catalogue.annotation(file, setting, EVALUATIONS[kind])
    if annotation.startswith("Literal["):
        return "|".join(re.findall(r"\w+", annotation.removeprefix("Literal")))
    return r"\d+" if annotation == "int" else NUMBER if annotation == "float" else "[a-z0-9_]+"


def _holes(stem: str) -> set[str]:
    return {hole for _, hole, _, _ in Formatter().parse(stem) if hole}


def as_mapping(entry: Entry) -> dict[str, Any]:
    """Return an entry's fields as a record keeps them, without what is the run's own."""
    fields = {key: getattr(entry, key) for key in ("norm", "eps")}
    return entry.settings | {key: value for key, value in fields.items() if value is not None}
