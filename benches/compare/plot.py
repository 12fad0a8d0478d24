#!/usr/bin/env python3
"""Draws the figures of docs/performance.md from the measurements of `cargo bench --bench compare`.

    plot.py benches/compare/measurements.csv docs/performance

Needs nothing but Python's standard library."""

import csv
import math
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

COLOURS = {
    "threadcast": "#b3261e",
    "redis": "#6d4c41",
    "nats": "#1565c0",
    "nchan": "#2e7d32",
    "mosquitto": "#7b1fa2",
}
NAMES = {"threadcast": "threadcast", "redis": "Redis", "nats": "NATS", "nchan": "Nchan", "mosquitto": "Mosquitto"}
PANELS = [
    ("cpu_us_per_delivery", "server CPU per delivery"),
    ("p50_us", "latency, median"),
    ("p99_us", "latency, 99th percentile"),
]
SERIES = {
    "subscribers": ("by-subscribers.svg", "subscribers", "{rate} events per second, by the number of subscribers"),
    "rate": ("by-rate.svg", "rate", "{subscribers} subscribers, by the events per second"),
}

PANEL_WIDTH, PANEL_HEIGHT = 250, 240
LEFT, TOP, RIGHT, BOTTOM = 58, 64, 84, 50
LABEL_HEIGHT = 13
MOST_STEPS = 10
INK, FAINT = "#222222", "#dddddd"


def main(measurements: Path, folder: Path) -> None:
    with measurements.open() as file:
        rows = list(csv.DictReader(file))
    folder.mkdir(parents=True, exist_ok=True)
    for series, (name, x, title) in SERIES.items():
        chosen = [row for row in rows if row["series"] == series]
        (folder / name).write_text(figure(chosen, x, title.format(**chosen[0])))


def figure(rows: list[dict], x: str, title: str) -> str:
    width = len(PANELS) * (LEFT + PANEL_WIDTH + RIGHT)
    height = TOP + PANEL_HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        # Its own background: readable on a dark page too.
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        text(LEFT, 22, title, size=14, weight="bold"),
    ]
    for index, (column, heading) in enumerate(PANELS):
        left = index * (LEFT + PANEL_WIDTH + RIGHT) + LEFT
        parts += panel(rows, x, column, heading, left)
    return "\n".join([*parts, "</svg>", ""])


def panel(rows: list[dict], x: str, column: str, heading: str, left: int) -> list[str]:
    lines = medians(rows, x, column)
    xs = sorted({point for line in lines.values() for point in line})
    ys = [value for line in lines.values() for value in line.values()]
    x_at = scale(xs[0], xs[-1], left, left + PANEL_WIDTH)
    # Whole steps of 1, 2 and 5, so that both ends have a label.
    low, high = step_below(min(ys)), step_above(max(ys))
    y_at = scale(low, high, TOP + PANEL_HEIGHT, TOP)
    parts = [text(left, TOP - 12, heading)]
    marks = steps(low, high)
    if len(marks) > MOST_STEPS:
        marks = [value for value in marks if math.log10(value).is_integer()]
    for value in marks:
        y = y_at(value)
        parts.append(f'<path d="M{left} {y:.1f}h{PANEL_WIDTH}" stroke="{FAINT}"/>')
        parts.append(text(left - 6, y + 4, time(value), anchor="end"))
    for value in xs:
        parts.append(f'<path d="M{x_at(value):.1f} {TOP + PANEL_HEIGHT}v4" stroke="{INK}"/>')
        parts.append(text(x_at(value), TOP + PANEL_HEIGHT + 18, f"{value:,}", anchor="middle"))
    what = {"subscribers": "subscribers", "rate": "events per second"}[x]
    parts.append(text(left + PANEL_WIDTH / 2, TOP + PANEL_HEIGHT + 38, what, anchor="middle"))
    for peer, line in lines.items():
        points = [(x_at(value), y_at(line[value])) for value in sorted(line)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        stroke = 3 if peer == "threadcast" else 1.5
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[peer]}" stroke-width="{stroke}"/>')
        parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="{stroke}" fill="{COLOURS[peer]}"/>' for px, py in points]
    ends = {peer: y_at(line[max(line)]) for peer, line in lines.items()}
    for peer, y in apart(ends).items():
        weight = "bold" if peer == "threadcast" else "normal"
        parts.append(text(left + PANEL_WIDTH + 6, y + 4, NAMES[peer], colour=COLOURS[peer], weight=weight))
    return parts


def medians(rows: list[dict], x: str, column: str) -> dict[str, dict[int, float]]:
    """For each server, the median of the rounds at each place."""
    rounds = defaultdict(list)
    for row in rows:
        rounds[row["peer"], int(row[x])].append(float(row[column]))
    lines = {peer: {} for peer in COLOURS if any(peer == measured for measured, _ in rounds)}
    for (peer, place), values in rounds.items():
        lines[peer][place] = median(values)
    return lines


def scale(low: float, high: float, start: float, end: float):
    """A logarithmic axis."""
    span = math.log(high / low)
    return lambda value: start + (end - start) * math.log(value / low) / span


def steps(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [round(first * 10.0**exponent, 9) for exponent in exponents for first in (1, 2, 5)]
    return [value for value in values if low <= value <= high]


def step_below(value: float) -> float:
    return max(step for step in steps(value / 10, value))


def step_above(value: float) -> float:
    return min(step for step in steps(value, value * 10))


def time(micros: float) -> str:
    for unit, size in ("s", 1e6), ("ms", 1e3):
        if micros >= size:
            return f"{micros / size:g} {unit}"
    return f"{micros:g} µs"


def apart(ends: dict[str, float]) -> dict[str, float]:
    """Moves labels that would cover each other, as little as needed and within the panel."""
    placed, floor = {}, -math.inf
    for peer, y in sorted(ends.items(), key=lambda end: end[1]):
        placed[peer] = floor = max(y, floor + LABEL_HEIGHT)
    ceiling = TOP + PANEL_HEIGHT
    for peer, y in sorted(placed.items(), key=lambda end: -end[1]):
        placed[peer] = min(y, ceiling)
        ceiling = placed[peer] - LABEL_HEIGHT
    return placed


def text(x: float, y: float, words: str, *, anchor="start", size=12, weight="normal", colour=INK) -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
