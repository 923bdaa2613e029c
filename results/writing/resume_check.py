"""Whether a campaign may write into a directory; decided without changing anything in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from results import paths
from results.errors import RunCorruptError, RunMismatchError, RunNotFoundError
from results.run_folder.manifest import Json, Manifest, RunHeader, is_torn, read_manifest, torn_code
from results.run_folder.parts import find_rows
from results.run_folder.schema import INJECTIONS

if TYPE_CHECKING:
    from collections.abc import Container

    from results.errors import Differences
    from results.storage.storage import Storage

_ABSENT = "absent"


def check_resumable(storage: Storage, header: RunHeader) -> Manifest:
    """Return the manifest to write: a new one, or the recorded one brought up to date.

    Where ``campaign.json`` is torn, the parts tell whose the directory is, and what it tells of
    the user's code still counts.

    Raises:
        RunMismatchError: The directory holds another campaign, something else than a run, or a
            run of another version.
        RunCorruptError: Its ``campaign.json`` is JSON, but does not describe a run; or it is torn,
            and a part belongs to another campaign.
        ResultsError: The file system refuses.
    """
    try:
        recorded = read_manifest(storage)
    except RunNotFoundError:
        _check_free(storage)
        return Manifest.begin(header)
    except RunCorruptError:
        if not is_torn(storage):
            raise
        _check_ours(storage, header)
        return _begun_anew(storage, header)
    named = _texts(recorded.header.campaign)
    changed = code_differences(recorded.header.code, header.code or {}, named)
    differences = changed or _differences(recorded.header, header)
    if not differences:
        return recorded.updated(header=header)
    if not _is_begun(storage):
        return Manifest.begin(header)
    if changed:
        raise _other_code(storage, changed)
    raise RunMismatchError(
        "the run directory belongs to another campaign; recorded -> received:",
        place=storage.path(),
        hint="Choose another --output for this campaign.",
        differences=differences,
    )


def _begun_anew(storage: Storage, header: RunHeader) -> Manifest:
    """Return a manifest in the place of a torn one."""
    told = torn_code(storage)
    if not told or not _is_begun(storage):
        return Manifest.begin(header)
    changed = code_differences(told["code"], header.code or {})
    if changed:
        hint = (
            f"{paths.CAMPAIGN} is damaged. If the files are what they were, it is so in their "
            f"digests: take the key `code` out of it, and the same command begins it anew."
        )
        raise _other_code(storage, changed, hint)
    return Manifest.begin(header.with_code(told["code"]))


def _is_begun(storage: Storage) -> bool:
    """Tell whether something was published: otherwise the directory is nobody's yet."""
    return any(storage.files(folder) for folder in (paths.TRIALS, paths.FAILURES))


def _other_code(storage: Storage, changed: Differences, *more: str) -> RunMismatchError:
    hint = "Restore the files, or choose another --output for the trials of the new code."
    return RunMismatchError(
        "code that the campaign uses is not what it was; digests of files, recorded -> received:",
        place=storage.path(),
        hint=" ".join((hint, *more)),
        differences=changed,
    )


def code_differences(
    recorded: Json | None, received: Json, named: Container[str] | None = None
) -> Differences:
    """Return the digests of the files that differ in what both campaigns name, by their names.

    A fault that only one of them names makes no difference: a grid may become wider or narrower.

    Args:
        recorded: ``RunHeader.code`` of the run directory.
        received: The same of the campaign.
        named: What the recorded campaign names, where the version that wrote did not record its
            code; None for anything.
    """
    if recorded is None:
        files = {
            file: new
            for name, code in received.items()
            if named is None or name in named
            for file, new in code.items()
        }
        return {file: ("not recorded", new) for file, new in sorted(files.items())}
    return {
        file: pair
        for name, code in received.items()
        if name in recorded
        for file, pair in _differing(recorded[name], code).items()
    }


def _texts(value: object) -> set[str]:
    """Return all texts and keys within a JSON value."""
    if isinstance(value, Mapping):
        return {*value}.union(*map(_texts, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(_texts, value))
    return {value} if isinstance(value, str) else set()


def _check_free(storage: Storage) -> None:
    if storage.is_file():
        raise RunMismatchError(
            "this is a file, expected a run directory or a folder to begin one in",
            place=storage.path(),
            hint="Choose another --output.",
        )
    files = [file for file in storage.files() if file != paths.LOCK and not paths.is_aside(file)]
    if files:
        raise RunMismatchError(
            f"this is not a run directory: it holds {_some(files)}, but no {paths.CAMPAIGN}",
            place=storage.path(),
            hint="Choose another --output: an empty folder or one that does not exist.",
        )


def _check_ours(storage: Storage, header: RunHeader) -> None:
    """Check that a directory whose ``campaign.json`` is torn is this campaign's or nobody's."""
    ours = [
        name
        for folder, schema in ((paths.TRIALS, header.schema), (paths.INJECTIONS, INJECTIONS))
        for name, rows in find_rows(storage, folder, schema, header.identity).items()
        if rows is not None
    ]
    files = [file for file in storage.files() if not paths.is_top(file)]
    if files and not ours:
        raise RunMismatchError(
            f"this is not known to be a run directory: it holds {_some(files)}, no rows, and a "
            f"{paths.CAMPAIGN} that is not JSON",
            place=storage.path(),
            hint="Choose another --output: an empty folder or one that does not exist.",
        )


def _differences(recorded: RunHeader, received: RunHeader) -> Differences:
    """Return the fields of the identity that differ, each with its old and its new value.

    Columns are of the same metrics where the identity is the same, unless one of the user's own
    was given another name.
    """
    return _differing(recorded.identity, received.identity) or _differing(
        {"columns": recorded.columns}, {"columns": received.columns}
    )


def _differing(recorded: Json, received: Json) -> Differences:
    old, new = json.loads(json.dumps(dict(recorded))), json.loads(json.dumps(dict(received)))
    return {
        name: (old.get(name, _ABSENT), new.get(name, _ABSENT))
        for name in dict.fromkeys([*old, *new])
        if old.get(name, _ABSENT) != new.get(name, _ABSENT)
    }


def _some(files: list[str]) -> str:
    shown = ", ".join(files[:3])
    return f"{shown} and {len(files) - 3} more" if len(files) > 3 else shown
