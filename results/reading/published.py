"""The rows that a run directory holds now, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from results import paths
from results.run_folder.consistent_reads import while_replaced
from results.run_folder.doubled import check_doubled
from results.run_folder.parts import ids_of, joined, read_parts
from results.run_folder.schema import INJECTIONS

if TYPE_CHECKING:
    import pyarrow as pa

    from results.run_folder.manifest import RunHeader
    from results.storage.storage import Storage


def read_trials(
    storage: Storage, header: RunHeader, columns: pa.Schema, where: Any = None
) -> tuple[pa.Table, list[str]]:
    """Return rows of the published trials, and the names of the parts that are damaged.

    Args:
        storage: The run directory.
        header: What its latest writer said.
        columns: What to read, with ``trial_id``.
        where: A pyarrow expression that the rows must satisfy.

    Raises:
        RunCorruptError: A part is of another campaign, or two rows of a trial differ.
    """

    def look() -> dict[str, pa.Table | None]:
        found = read_parts(
            storage, paths.TRIALS, header.schema, header.identity, columns=columns, where=where
        )
        ids = {name: None if rows is None else ids_of(rows) for name, rows in found.items()}
        check_doubled(storage, ids, header.schema)
        return found

    return _together(while_replaced(storage, paths.TRIALS, look), columns)


def read_injections(storage: Storage, header: RunHeader) -> tuple[pa.Table, list[str]]:
    """Return the recorded injections, those of unfinished trials too, and the damaged parts.

    Raises:
        RunCorruptError: A part is of another campaign.
    """

    def look() -> dict[str, pa.Table | None]:
        return read_parts(
            storage, paths.INJECTIONS, INJECTIONS, header.identity, columns=INJECTIONS
        )

    return _together(while_replaced(storage, paths.INJECTIONS, look), INJECTIONS)


def _together(found: dict[str, pa.Table | None], columns: pa.Schema) -> tuple[pa.Table, list[str]]:
    return joined(found.values(), columns), [name for name in found if found[name] is None]
