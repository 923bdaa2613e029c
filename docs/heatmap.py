"""Draw the layer x bit heatmap of a run as SVG: ``python docs/heatmap.py RUN FILE.svg``."""

import sys
from pathlib import Path

from injecttf2 import open_run

CELL_WIDTH, CELL_HEIGHT, LEFT, TOP = 22, 24, 120, 64
LIGHT, DARK = (247, 251, 255), (8, 48, 107)


def color(share: float) -> str:
    """Return a blue between light (0) and dark (1)."""
    mixed = (round(light + (dark - light) * share) for light, dark in zip(LIGHT, DARK, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def draw(run: Path) -> str:
    """Return the SVG of a run's share of silent data corruptions, for flips in every sample."""
    opened = open_run(run)
    trials = opened.trials()
    rates = (
        trials.groupby(["layer", "bit"], observed=True)[["sdc", "due", "injected"]]
        .sum()
        .assign(rate=lambda sums: (sums["sdc"] + sums["due"]) / sums["injected"])["rate"]
        .unstack()
    )
    bits = sorted(rates.columns, reverse=True)
    width = LEFT + CELL_WIDTH * len(bits) + 110
    height = TOP + CELL_HEIGHT * len(rates) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12" role="img">',
        f"<title>Share of flips that corrupt the decision, by layer and bit of {run.name}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">Flips that corrupt the decision (SDC or DUE): '
        f"{run.name}, {len(trials):,} trials, {trials['injected'].sum():,} injections</text>",
        f'<text x="{LEFT - 8}" y="{TOP - 8}" text-anchor="end">bit</text>',
    ]
    for column, bit in enumerate(bits):
        x = LEFT + column * CELL_WIDTH + CELL_WIDTH / 2
        parts.append(f'<text x="{x}" y="{TOP - 8}" text-anchor="middle">{bit}</text>')
    for row, (layer, values) in enumerate(rates.iterrows()):
        y = TOP + row * CELL_HEIGHT
        parts.append(f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end">{layer}</text>')
        for column, bit in enumerate(bits):
            x = LEFT + column * CELL_WIDTH
            parts.append(
                f'<rect x="{x}" y="{y}" width="{CELL_WIDTH - 1}" height="{CELL_HEIGHT - 1}" '
                f'fill="{color(values[bit])}"><title>{layer}, bit {bit}: {values[bit]:.2%}'
                "</title></rect>"
            )
    right = LEFT + CELL_WIDTH * len(bits) + 16
    for step in range(5):
        y = TOP + step * CELL_HEIGHT
        share = 1 - step / 4
        parts.append(f'<rect x="{right}" y="{y}" width="20" height="22" fill="{color(share)}"/>')
        parts.append(f'<text x="{right + 28}" y="{y + 16}">{share:.0%}</text>')
    below = TOP + CELL_HEIGHT * len(rates) + 20
    fields = (("sign", 31, 31), ("exponent", 30, 23), ("mantissa", 22, 0))
    for name, first, last in fields:
        x = LEFT + (bits.index(first) + bits.index(last) + 1) / 2 * CELL_WIDTH
        parts.append(f'<text x="{x}" y="{below}" text-anchor="middle">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(Path(sys.argv[1])))
