"""Writes the benchmark's results into the README, and draws the plot that it shows.

    figures.py RESULTS.json       the section between the markers of README.md, and docs/figures.svg

It measures nothing. The plot needs no library: it is a few rectangles.
"""

import datetime
import html
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PLOT = ROOT / "docs" / "figures.svg"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
SIGNALS = ["spans", "logs", "metrics"]
COLORS = ["#1b6ac9", "#d97706", "#6b7280", "#374151"]
BARS = [("CPU µs/item", "CPU per item, µs"), ("peak RSS MiB", "peak RSS, MiB")]


def number(value):
    if value is None:
        return "–"
    size = abs(value)
    decimals = 2 if 0 < size < 10 else 1 if size < 100 else 0
    return f"{value:,.{decimals}f}"


def cells(row):
    return {cell["column"]["name"]: cell for cell in row["cells"]}


def spread(cell):
    if cell is None:
        return ""
    rounds = cell["rounds"]
    text = number(cell["median"])
    if len(rounds) < 2:
        return text
    return f"{text} ({number(min(rounds))}–{number(max(rounds))})"


def table(header, rows):
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def goals(report):
    rows = []
    for part in report["parts"]:
        for goal in part["goals"]:
            at_most = goal["bound"] == "at_most"
            found = goal["measured"]
            reached = found is not None and (found <= goal["target"] if at_most else found >= goal["target"])
            verdict = "not measured" if found is None else "yes" if reached else "**no**"
            rows.append([goal["what"], ("≤ " if at_most else "≥ ") + number(goal["target"]), number(found), verdict,
                         f"`{part['command']}`"])
    return table(["figure", "target", "measured", "reached", "command"], rows)


def part_table(part):
    columns = []
    for row in part["rows"]:
        columns += [name for name in cells(row) if name not in columns]
    rows = [[row["subject"], *(spread(cells(row).get(name)) for name in columns)] for row in part["rows"]]
    return table([part["name"], *columns], rows)


def machine(report):
    of = report["machine"]
    date = datetime.datetime.fromtimestamp(report["time_unix_nanos"] / 1e9, datetime.timezone.utc)
    how = report["options"]
    return (f"Measured on {date:%Y-%m-%d} at commit {of['commit']} with {of['cores']} cores of {of['cpu'] or 'an unnamed CPU'}, "
            f"{of['memory_mib'] // 1024} GiB, Linux {of['kernel']}, {of['disk']}, load {of['load']} before the run; "
            f"{', '.join(of['peers'])}; {how['items']:,} items in {how['rounds']} rounds, {how['stored']:,} spans stored, "
            f"the aggregator away for {how['away']['secs']} s. The generator and the far sides run on the same cores. "
            "Medians of the rounds, with their spread in parentheses.")


def section(report):
    lines = [machine(report), "", *goals(report), "",
             "![CPU per item and memory of all](docs/figures.svg)", "",
             "The plot: `make bench PART=\"spans logs metrics\"`, drawn by `scripts/figures.py`.", ""]
    for part in report["parts"]:
        lines += [f"`{part['command']}` ({part['seconds']:.0f} s)", "", *part_table(part), ""]
        lines += [f"- {text}" for text in part["notes"] + [text.splitlines()[0] for text in part["left_out"]]]
        lines += [""] if part["notes"] or part["left_out"] else []
    return "\n".join(lines).rstrip()


def bars(report, column):
    """Of each signal, the subjects that have the figure."""
    found = []
    for part in report["parts"]:
        if part["name"] in SIGNALS:
            rows = [(row["subject"], cells(row)[column]["median"]) for row in part["rows"]
                    if column in cells(row) and "batches" not in row["subject"]]
            found.append((part["name"], rows))
    return found


def plot(report):
    panel, left, bar, gap = 470, 12, 16, 26
    subjects = [subject for _, rows in bars(report, BARS[0][0]) for subject, _ in rows]
    subjects = list(dict.fromkeys(subjects))
    height = 70 + sum(len(rows) * bar + gap for _, rows in bars(report, BARS[0][0])) + 22 * len(subjects)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * panel}" height="{height}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{2 * panel}" height="{height}" fill="#ffffff"/>']
    for index, (column, title) in enumerate(BARS):
        x = index * panel + left
        out.append(f'<text x="{x}" y="24" font-size="15" font-weight="bold">{title}</text>')
        groups = bars(report, column)
        most = max((value for _, rows in groups for _, value in rows), default=1)
        y = 48
        for signal, rows in groups:
            out.append(f'<text x="{x}" y="{y}" fill="#374151">{signal}</text>')
            y += 6
            for subject, value in rows:
                width = max(1.0, (panel - 90) * value / most)
                color = COLORS[subjects.index(subject) % len(COLORS)]
                out.append(f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{bar - 3}" fill="{color}"/>')
                out.append(f'<text x="{x + width + 5:.1f}" y="{y + 11}">{number(value)}</text>')
                y += bar
            y += gap - 6
    y = height - 22 * len(subjects) + 4
    for index, subject in enumerate(subjects):
        color = COLORS[index % len(COLORS)]
        out.append(f'<rect x="{left}" y="{y}" width="12" height="12" fill="{color}"/>')
        out.append(f'<text x="{left + 18}" y="{y + 11}">{html.escape(subject)}</text>')
        y += 22
    return "\n".join([*out, "</svg>", ""])


def main():
    report = json.loads(pathlib.Path(sys.argv[1]).read_text())
    if any(part["name"] in SIGNALS for part in report["parts"]):
        PLOT.parent.mkdir(exist_ok=True)
        PLOT.write_text(plot(report))
    text = README.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    README.write_text(f"{before}{BEGIN}\n{section(report)}\n{END}{after}")
    print(f"==> wrote {README} and {PLOT}", file=sys.stderr)


if __name__ == "__main__":
    main()
