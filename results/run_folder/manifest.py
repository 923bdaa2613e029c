"""What ``campaign.json`` says: what was asked for, from what, and what the golden run was."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from results import paths
from results.errors import RunCorruptError, RunMismatchError, RunNotFoundError
from results.run_folder.manifest_shape import check_shape, is_code
from results.run_folder.schema import SCHEMA_VERSION, trials_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from results.storage.storage import Storage

Json = Mapping[str, Any]
"""A mapping that JSON can hold."""


@dataclass(frozen=True)
class RunHeader:
    """What the writer of a run says about it.

    Args:
        campaign: The resolved campaign.
        identity: What the trials mean: identity version, model and data digests, seed, and what is
            asked of outputs. A run directory holds the trials of one identity only.
        provenance: What the results are made with: git commit, package versions, machine.
        plan: ``{"trials": int, "layers": {layer: trials}}``; ``"outside": {layer: trials}`` tells
            of published trials that are not in it, and ``"failed_outside": [str(id)]`` of trials in
            its layers that were given up on and are not in it;
            ``"exhaustive": {str(cell_id): trials}`` how many trials hit all sites of a cell, for
            exhaustive ones; of earlier plans too; ``"sites": {str(cell_id): sites}`` the same for
            cells that count by their sites; ``"precision"`` how well the rates of layers or of the
            network are known, a mapping each; ``"data"`` in a line what was done to the data.
        columns: Names of the columns of metrics and criteria, kept in alphabetical order; see
            ``trials_schema``.
        layers: By address of each layer that is injected, what it is: ``type``; ``shape`` of its
            output for one sample, a list in which null is a size that depends on the data; and
            ``dtype``.
        code: The user's own code: by what the campaign names, the digest of each of its files;
            of earlier plans too. None where an earlier version wrote, which did not record it.

    Raises:
        ValueError: ``plan`` has not that shape, or ``columns`` has other names.
    """

    campaign: Json
    identity: Json
    provenance: Json
    plan: Json
    columns: Sequence[str] = ()
    layers: Json = field(default_factory=dict)
    code: Json | None = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(sorted(self.columns)))
        trials_schema(self.columns)
        if not _is_plan(self.plan):
            raise ValueError(
                f"The plan is {dict(self.plan)!r}, expected "
                '{"trials": number, "layers": {layer: number}}.'
            )

    @property
    def schema(self) -> pa.Schema:
        """The schema of the run's trials."""
        return trials_schema(self.columns)

    def with_code(self, earlier: Json | None) -> Self:
        """Return the header with the code of earlier plans beside its own.

        Where that was not recorded, what this one names is new: it was admitted.
        """
        if earlier is None and not self.code:
            return replace(self, code=None)
        known = {**(earlier or {}), **(self.code or {})}
        return replace(self, code=known)


@dataclass(frozen=True)
class Manifest:
    """The contents of ``campaign.json``.

    Args:
        header: What the latest writer said.
        created_at: When the run directory was begun.
        updated_at: When the file was last written.
        golden: Metrics and digests of the golden run; None before it is known.
        earlier_provenance: What earlier writers said, oldest first, each with ``until``, the time
            of the first writer that said something else.
        numerics: Classes of numerics of the workers that made the rows, in the order in which the
            first worker of each came.
    """

    header: RunHeader
    created_at: datetime
    updated_at: datetime
    golden: Json | None = None
    earlier_provenance: tuple[Json, ...] = ()
    numerics: tuple[Json, ...] = ()

    @classmethod
    def begin(cls, header: RunHeader) -> Self:
        """Return the manifest of a run directory that begins now."""
        now = datetime.now(UTC)
        return cls(header, created_at=now, updated_at=now)

    def updated(
        self,
        *,
        header: RunHeader | None = None,
        golden: Json | None = None,
        numerics: Json | None = None,
    ) -> Self:
        """Return the manifest with what is given put in its place and ``updated_at`` set to now.

        A class of numerics comes to those that are recorded.

        By how many places cells count, and the code of a fault, stay known when a narrower plan
        leaves them out: their trials are still there. A plan in which cells do not count by their
        sites makes a run in which none do.
        """
        now = datetime.now(UTC)
        earlier = self.earlier_provenance
        if header is not None and header.provenance != self.header.provenance:
            earlier += ({**self.header.provenance, "until": now.isoformat()},)
        if header is not None:
            for key in {"exhaustive", "sites"} & {*self.header.plan} & {*header.plan}:
                header = _with_places(header, key, self.header.plan[key])
            header = header.with_code(self.header.code)
        return replace(
            self,
            header=header or self.header,
            golden=golden if golden is not None else self.golden,
            updated_at=now,
            earlier_provenance=earlier,
            numerics=self.numerics if numerics is None else (*self.numerics, numerics),
        )

    def to_json(self) -> bytes:
        """Return the contents of the file.

        Raises:
            TypeError: The header or the golden run holds something that JSON cannot.
        """
        contents = {
            "schema_version": SCHEMA_VERSION,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            **vars(self.header),
            "golden": self.golden,
            "numerics": list(self.numerics),
            "earlier_provenance": list(self.earlier_provenance),
        }
        contents["digest"] = _digest(json.loads(json.dumps(contents)))
        return (json.dumps(contents, indent=2, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes, place: str) -> Self:
        """Return what the file ``place`` with the contents ``text`` says.

        Raises:
            RunMismatchError: A version of this package with another schema wrote it.
            RunCorruptError: It is not such a file.
        """
        try:
            contents = json.loads(text)
            if not _is_sound(text):
                raise ValueError("it was damaged or edited: its digest is that of other contents")
            _check_version(contents, place)
            check_shape(contents)
            names = ("campaign", "identity", "provenance", "plan", "columns", "layers")
            return cls(
                RunHeader(**{name: contents[name] for name in names}, code=contents.get("code")),
                created_at=datetime.fromisoformat(contents["created_at"]),
                updated_at=datetime.fromisoformat(contents["updated_at"]),
                golden=contents["golden"],
                earlier_provenance=tuple(contents["earlier_provenance"]),
                numerics=tuple(contents.get("numerics", ())),
            )
        except (ValueError, RecursionError) as error:
            raise RunCorruptError(
                f"the file does not describe a run: {error}",
                place=place,
                hint="Restore it from a copy, or choose another --output."
                if _is_sound(text)
                else "The same `injecttf2 run` command as before writes it anew and goes on.",
            ) from error


def read_manifest(storage: Storage) -> Manifest:
    """Return what the run directory's ``campaign.json`` says.

    Raises:
        RunNotFoundError: There is no such file.
        ResultsError: The file system refused.
        RunMismatchError: A version of this package with another schema wrote it.
        RunCorruptError: It cannot be understood.
    """
    place = storage.path(paths.CAMPAIGN)
    try:
        text = storage.read(paths.CAMPAIGN)
    except FileNotFoundError:
        raise RunNotFoundError(
            f"no run directory: it holds no {paths.CAMPAIGN}",
            place=storage.path(),
            hint="Give the folder that `injecttf2 run --output` wrote to.",
        ) from None
    return Manifest.from_json(text, place)


def is_torn(storage: Storage) -> bool:
    """Tell whether ``campaign.json`` is there and is not what was written.

    It is no JSON, or not that which its digest is of: a power cut or a bad copy tore it.

    Raises:
        ResultsError: The file system refused.
    """
    try:
        return not _is_sound(storage.read(paths.CAMPAIGN))
    except FileNotFoundError:
        return False


def torn_code(storage: Storage) -> Json:
    """Return ``{"code": ...}`` as a torn ``campaign.json`` tells ``RunHeader.code``, {} if not.

    It may be damaged there, but it only refuses what has other code. Numbers of places, which
    statistics go by, are not taken from such a file.

    Raises:
        ResultsError: The file system refused.
    """
    try:
        contents = json.loads(storage.read(paths.CAMPAIGN))
    except (ValueError, RecursionError):
        return {}
    told = contents if isinstance(contents, dict) else {}
    return {"code": told["code"]} if "code" in told and is_code(told["code"]) else {}


def keep_torn(storage: Storage) -> tuple[str, ...]:
    """Keep a torn ``campaign.json`` under another name before it is written anew.

    It is copied: the directory is known as a run's by the file, should the process end here.

    Returns:
        What was done, a sentence each; nothing if the file is not torn.

    Raises:
        ResultsError: The file system refused.
    """
    if not is_torn(storage):
        return ()
    kept = paths.torn(paths.CAMPAIGN)
    storage.publish(kept, storage.read(paths.CAMPAIGN))
    code = "" if torn_code(storage) else " Whether the user's code is what it was is not known."
    return (
        f"{storage.path(paths.CAMPAIGN)} cannot be read and was kept as {kept}: it is written anew "
        "without what it told of the golden run, its numerics, earlier provenance and the numbers "
        "of places of exhaustive cells that only earlier grids have; a run of such a grid tells "
        f"them again.{code}",
    )


def write_manifest(storage: Storage, manifest: Manifest) -> None:
    """Write ``campaign.json``, all at once."""
    storage.publish(paths.CAMPAIGN, manifest.to_json())


def canonical_json(value: object) -> str:
    """Return ``value`` as JSON that is the same whatever the order of its keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _is_sound(text: bytes) -> bool:
    """Tell whether ``text`` is JSON, and that which its digest is of; it had none before."""
    try:
        contents = json.loads(text)
    except (ValueError, RecursionError):
        return False
    told = contents.get("digest") if isinstance(contents, dict) else None
    return told is None or told == _digest(contents)


def _digest(contents: Json) -> str:
    """Return the digest of what the file says beside it, however that is laid out."""
    rest = {name: value for name, value in contents.items() if name != "digest"}
    return paths.digest_of(canonical_json(rest).encode())


def _with_places(header: RunHeader, key: str, earlier: Json) -> RunHeader:
    """Return the header with the places of cells of an earlier plan beside those of its own."""
    places = {**earlier, **header.plan[key]}
    return replace(header, plan={**header.plan, key: places})


def _is_plan(plan: Json) -> bool:
    return isinstance(plan.get("trials"), int) and isinstance(plan.get("layers"), Mapping)


def _check_version(contents: Any, place: str) -> None:
    """Refuse what another version wrote before its values are looked at."""
    version = contents.get("schema_version") if isinstance(contents, Mapping) else None
    if type(version) is not int:
        return  # the check of the values tells
    if version > SCHEMA_VERSION:
        raise RunMismatchError(
            f"the run directory has schema version {version}, this package knows up to "
            f"{SCHEMA_VERSION}",
            place=place,
            hint="Use the version of injecttf2 that wrote it, or a later one.",
        )
    if version < SCHEMA_VERSION:
        raise RunMismatchError(
            f"the run directory has schema version {version}, of an earlier injecttf2; this "
            f"package reads and writes {SCHEMA_VERSION}",
            place=place,
            hint="Run the campaign into another --output. The trials in this one can be read with "
            "the version that wrote them, or with pandas.read_parquet on its trials/.",
        )
