"""The faults of a grid, as its file writes them."""

from __future__ import annotations

from collections.abc import Iterable

from injecttf2.errors import CampaignError, placed
from injecttf2.faults import registry as fault_registry
from injecttf2.faults.fault_model import Fault
from orchestrator.campaign.campaign import Campaign
from orchestrator.campaign.component_spec import ComponentSpec
from orchestrator.campaign.grid import GridSpec
from orchestrator.planning.fault_entries import takes_bits, written_out


def faults_of(campaign: Campaign, index: int, spec: GridSpec) -> list[tuple[Fault, str]]:
    """Return the faults of a grid, each with the key of the grid that decides what it hits.

    Args:
        campaign: The campaign.
        index: Which of its grids.
        spec: That grid.

    Raises:
        CampaignError: There is no such fault, or its parameters or bits are wrong.
    """
    found = []
    for position, given in enumerate(spec.fault):
        with placed(campaign.place("grid", index, "fault", position)):
            found += _of_type(campaign, given, spec.bits)
    if spec.bits is not None and all(key == "fault" for _, key in found):
        raise CampaignError(
            f"the fault {spec.fault[0].type} hits no bits",
            place=campaign.place("grid", index, "bits"),
            hint="leave `bits` out",
        )
    return found


def check_dtype(fault: Fault, dtype: str, what: str, place: str | None) -> None:
    """See that a fault can happen to words of a dtype.

    Args:
        fault: The fault.
        dtype: The dtype.
        what: What holds such words, for the message.
        place: What in the campaign decides it.

    Raises:
        CampaignError: It cannot.
    """
    try:
        fault.check(dtype)
    except ValueError as error:
        raise CampaignError(
            f"{what}: {error}",
            place=place,
            hint="give layers or variables of another dtype a grid of their own",
        ) from error


def _of_type(
    campaign: Campaign, given: ComponentSpec, bits: Iterable[int | str] | None
) -> list[tuple[Fault, str]]:
    """Return the faults of one type: a single one, or one for each of the grid's bits."""
    if not takes_bits(given.type, given.parameters, campaign.folder):
        return [(_build(campaign, given), "fault")]
    if bits is None:
        raise CampaignError(
            f"the fault {given.type} hits bits, and the grid does not say which",
            hint="add `bits:`, numbers, ranges such as 23-30, random, sign, ...",
        )
    return [(_build(campaign, given, bit), "bits") for bit in bits]


def _build(campaign: Campaign, given: ComponentSpec, bit: int | str | None = None) -> Fault:
    field = ("any" if bit == "random" else bit) if isinstance(bit, str) else None
    try:
        return fault_registry.build(
            given.type,
            written_out(given.parameters),
            bit=bit if isinstance(bit, int) else None,
            bit_field=field,
            folder=campaign.folder,
        )
    except ValueError as error:
        text = str(error)
        told = text if text.startswith(given.type) else f"{given.type}: {text}"
        raise CampaignError(told) from error
