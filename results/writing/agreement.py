"""What the workers of a run must agree in, so that its rows can be compared with each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from results.errors import RunMismatchError

if TYPE_CHECKING:
    from results.run_folder.manifest import Json, Manifest

MIXED = "mixed_numerics"
"""The provenance's word for which classes of numerics a run may have beside each other."""

NONE, DEVICES, ANY = "none", "devices", "any"
"""One class; one of each kind of device; whatever comes."""

EXPLAINS = "settings"
"""The part of a class of numerics that explains it and is not compared."""

ALLOW = (
    "--any-numerics takes it all the same, and campaign.json then tells all classes: a row depends "
    "on which worker made it where rounding decides, so a repeated run may have other rows"
)


def agreed(manifest: Manifest, golden: Json, numerics: Json | None, *, place: str) -> Manifest:
    """Return the manifest with a worker's golden run and its class of numerics, if they fit.

    Args:
        manifest: What is recorded.
        golden: Metrics and digests of the worker's golden run; ``decisions`` is compared.
        numerics: The worker's class of numerics; None where it tells none.
        place: The run directory.

    Raises:
        RunMismatchError: The worker decides otherwise, or is of a class that is not taken.
    """
    recorded = manifest.golden
    if recorded is not None and recorded.get("decisions") != golden.get("decisions"):
        raise RunMismatchError(
            "the golden run differs from the recorded one: the same model and data were "
            "decided differently on this machine or with these versions, so its trials "
            "cannot be compared with those in the run directory",
            place=place,
            hint="Resume where the run was begun (see provenance), or choose another --output.",
            differences={"decisions": (recorded.get("decisions"), golden.get("decisions"))},
        )
    if numerics is not None and not _is_known(manifest, numerics):
        _check_class(manifest, numerics, place)
        manifest = manifest.updated(numerics=numerics)
    return manifest if recorded is not None else manifest.updated(golden=golden)


def differing_numerics(recorded: Json, numerics: Json) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two classes of numerics, and what explains it.

    Nothing if they are the same class, however that came about.
    """
    names = [name for name in dict.fromkeys([*recorded, *numerics]) if name != EXPLAINS]
    found = _differing(recorded, numerics, names)
    if not found:
        return {}
    old, new = recorded.get(EXPLAINS, {}), numerics.get(EXPLAINS, {})
    return found | _differing(old, new, dict.fromkeys([*old, *new]))


def _is_known(manifest: Manifest, numerics: Json) -> bool:
    return any(not differing_numerics(one, numerics) for one in manifest.numerics)


def _check_class(manifest: Manifest, numerics: Json, place: str) -> None:
    """Check that a class that is new to a run may come to it."""
    mixed = manifest.header.provenance.get(MIXED, NONE)
    others = manifest.numerics
    if mixed == DEVICES:
        others = tuple(one for one in others if _kind(one) == _kind(numerics))
    if mixed == ANY or (not others and (manifest.golden is None or manifest.numerics)):
        return
    if not manifest.numerics:
        raise RunMismatchError(
            "an earlier injecttf2 made the rows of this run and did not record its class of "
            "numerics, so it is not known whether kernels here round as they did",
            place=place,
            hint=f"Choose another --output; or {ALLOW}.",
        )
    raise RunMismatchError(
        "it is of another class of numerics than the run's rows: its kernels round otherwise",
        place=place,
        hint=f"Run on machines and with versions of one class; or {ALLOW}.",
        differences=differing_numerics(others[0], numerics),
    )


def _kind(numerics: Json) -> str:
    return str(numerics.get("device")).partition(":")[0]


def _differing(old: Json, new: Json, names: Any) -> dict[str, tuple[Any, Any]]:
    return {
        name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
    }
