"""The command ``injecttf2``, also as ``python -m injecttf2``."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    """Run the command line, once it is known that the packages beside this one are its own.

    Their names are plain words: another package, or a file in the folder that Python is started
    in, may have them too, and would be imported instead.
    """
    ours = Path(__file__).parents[1]
    for name in ("orchestrator", "results"):
        found = find_spec(name)
        place = None if found is None or found.origin is None else Path(found.origin)
        if place is None or place.parent != ours / name:
            where = "nowhere" if place is None else f"at {place}"
            print(
                f"error: injecttf2 needs its own package {name!r}, in {ours}; Python finds it "
                f"{where}: rename or uninstall that, or run injecttf2 from another folder",
                file=sys.stderr,
            )
            sys.exit(2)
    from orchestrator.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
