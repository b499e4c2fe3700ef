# SPDX-License-Identifier: MIT
"""What bench/peers.py prints and writes of its figures: table, targets, page, chart."""
import json
import pathlib
import statistics
import subprocess

from peers_run import PEERS

# Who is held against whom: the same kind of paging.
PAIRS = (("kvm-npt", "rhizome-npt"), ("kvm-shadow", "rhizome-shadow"))
NOISE = 0.01  # of a figure: the same run gives it again to within that
NESTED_ROWS = ("vmrun", "vmrun_flush", "vmrun_full")  # round trips
PAGE_MARK = "<!-- what follows is written by bench/peers.py -->"


def rows_of(figures):
    """{row: {peer: figure}}."""
    rows = {}
    for peer, by_row in figures.items():
        for name, figure in by_row.items():
            rows.setdefault(name, {})[peer] = figure
    return rows


def total(row, peer):
    """Instructions of an operation, or None where there are none."""
    return row.get(peer, {}).get("total")


def is_measured(row):
    return any(total(row, peer) is not None for peer in row)


def above_bare(row, peer):
    """What an operation costs more than on the bare machine: the counter's figure is the whole, so
    that a slower guest counts as the hypervisor's work, too."""
    figure, bare = total(row, peer), total(row, "bare")
    return None if figure is None or bare is None else figure - bare


def factor(row, theirs, ours, of=total):
    """Theirs divided by ours, or None. Nothing at all counts as one instruction."""
    theirs, ours = of(row, theirs), of(row, ours)
    return None if theirs is None or ours is None else max(theirs, 1) / max(ours, 1)


def behind(row):
    """The largest factor by which KVM needs fewer instructions than we do, of both pairs."""
    factors = [1 / each for each in (factor(row, *pair) for pair in PAIRS) if each]
    return max(factors, default=0)


def ordered(figures):
    """(row, {peer: figure}): those where KVM is ahead first, by how much, then as measured."""
    rows = {name: row for name, row in rows_of(figures).items() if is_measured(row)}
    names = sorted(rows, key=lambda name: -behind(rows[name]) if is_ahead(rows[name]) else 0)
    return [(name, rows[name]) for name in names]


def is_ahead(row):
    return behind(row) > 1


def named(row):
    """What stands behind a row in which KVM needs fewer instructions."""
    if not is_ahead(row):
        return ""
    return "KVM is ahead" if behind(row) > 1 + NOISE else "KVM is ahead, within 1 %"


def above(row, theirs, ours):
    """The factor of what both need above bare, if that is more than noise."""
    if factor(row, theirs, ours, above_bare) is None:
        return None
    most = max(above_bare(row, peer) for peer in (theirs, ours))
    return factor(row, theirs, ours, above_bare) if most > NOISE * total(row, "bare") else None


def shown(figure):
    return f"{figure:,.2f}" if figure is not None else "-"


def cell(row, peer):
    figure = total(row, peer)
    return f"{figure:,}" if figure is not None else "-"


def skips(figures):
    """Lines on rows that a system cannot have."""
    reasons = {}
    for name, row in rows_of(figures).items():
        for peer, figure in row.items():
            if "skip" in figure:
                reasons.setdefault((peer, figure["skip"]), []).append(name)
    return [f"{peer} has no {', '.join(names)}: {reason}"
            for (peer, reason), names in reasons.items()]


def parts(figures):
    """Rows whose instructions the counter has told apart: {row: {peer: (hypervisor's, exits)}}."""
    rows = {}
    for name, row in rows_of(figures).items():
        told = {peer: (figure["hypervisor"], figure["exits"]) for peer, figure in row.items()
                if "hypervisor" in figure and peer != "bare"}
        if told:
            rows[name] = told
    return rows


def is_mark(name):
    return not name.startswith(("linux", "l2 boot"))


def is_round_trip(name):
    return name.split()[0] in NESTED_ROWS


def verdict(what, least, factors):
    """The line of one target: each row's factor must be at least so much."""
    factors = {name: each for name, each in factors.items() if each is not None}
    if not factors:
        return f"{what}: not measured"
    missed = {name: each for name, each in factors.items() if each < least}
    worst = min(factors, key=factors.get)
    line = (f"{what}: {'missed' if missed else 'met'}, {len(factors) - len(missed)} of"
            f" {len(factors)} rows (median {statistics.median(factors.values()):.2f}, least"
            f" {factors[worst]:.2f}: {worst})")
    if missed:
        line += "; not " + ", ".join(f"{name} {each:.2f}" for name, each in missed.items())
    return line


def verdicts(figures):
    """Each target with what this run says of it."""
    rows = rows_of(figures)
    shadow, npt = PAIRS[1], PAIRS[0]
    flat = {name: row for name, row in rows.items() if is_mark(name) and "npt=" not in name}
    trips = {name: row for name, row in rows.items() if is_mark(name) and is_round_trip(name)}
    linux = {name: row for name, row in rows.items()
             if name.startswith("linux") and (name.endswith("boot") or "switchmark" in name)}
    return [
        verdict("mark under shadow paging, at most a fifth of KVM's npt=0", 5,
                {name: factor(row, *shadow) for name, row in flat.items()}),
        verdict("nested round trips under nested paging, at most an eighth of KVM's", 8,
                {name: factor(row, *npt) for name, row in trips.items()}),
        verdict("nested round trips under shadow paging, at most an eighth of KVM's", 8,
                {name: factor(row, *shadow) for name, row in trips.items()}),
        verdict("Linux' boot and switchmark under shadow paging, above bare, at most a third of"
                " KVM's npt=0", 3,
                {name: factor(row, *shadow, above_bare) for name, row in linux.items()}),
    ]


def gaps(figures):
    """Linux rows in which we under shadow paging need more than KVM with nested paging."""
    lines = []
    for name, row in rows_of(figures).items():
        ours, theirs = total(row, "rhizome-shadow"), total(row, "kvm-npt")
        if name.startswith("linux") and ours and theirs and ours > theirs:
            lines.append(f"{name}: {ours - theirs:,} instructions more, {ours / theirs:.3f} times")
    return lines


def table(figures, bold):
    """(heads, lines of cells) of the whole."""
    peers = [peer for peer in PEERS if peer in figures]
    pairs = [pair for pair in PAIRS if all(peer in figures for peer in pair)]
    kind = [ours.split("-")[1] for _, ours in pairs]
    heads = peers + [f"{each}: KVM / ours" for each in kind]
    heads += [f"{each}, above bare" for each in kind if "bare" in figures]
    lines = []
    for name, row in ordered(figures):
        cells = [cell(row, peer) for peer in peers]
        cells += [shown(factor(row, *pair)) for pair in pairs]
        if "bare" in figures:
            cells += [shown(above(row, *pair)) for pair in pairs]
        lines.append((bold(name), cells, named(row)))
    return heads, lines


def print_table(result):
    figures = result["figures"]
    heads, lines = table(figures, str)
    width = max((len(name) for name, _, _ in lines), default=0) + 2
    widths = [max(len(head), 14) + 2 for head in heads]

    def print_line(name, cells, more):
        print(f"{name:{width}}" + "".join(f"{each:>{w}}" for each, w in zip(cells, widths))
              + (f"   {more}" if more else ""))

    print("emulated instructions of an operation; a ratio is KVM's by ours with the same kind of"
          " paging\n")
    print_line("", heads, "")
    for line in lines:
        print_line(*line)
    told = parts(figures)
    if told:
        print("\nof these in the hypervisor, and exits to it\n")
        peers = [peer for peer in PEERS if any(peer in row for row in told.values())]
        heads = [f"{peer}{what}" for peer in peers for what in ("", " exits")]
        widths = [max(len(head), 12) + 2 for head in heads]
        print_line("", heads, "")
        for name, row in told.items():
            print_line(name, [each for peer in peers for each in part_cells(row, peer)], "")
    for title, text in notes(figures):
        print(f"\n{title}")
        print("\n".join(text))
    print(f"\n{took(result)}")


def took(result):
    """How long the run was, and what it had of the machine that others may have used, too."""
    minutes = [result["seconds"][which] / 60 for which in ("all", "of processors")]
    return f"{minutes[0]:.1f} minutes, {minutes[1]:.1f} of processors' time"


def part_cells(row, peer):
    return (f"{row[peer][0]:,}", f"{row[peer][1]:,}") if peer in row else ("-", "-")


def notes(figures):
    """(title, lines) of what stands below the tables."""
    found = [("targets", verdicts(figures)),
             ("where Linux costs more under Rhizome's shadow paging than under KVM with npt=1",
              gaps(figures)),
             ("not measured", skips(figures))]
    return [(title, lines) for title, lines in found if lines]


def write_page(result, path):
    """The tables as a page; the text around them is above the mark, and stays."""
    figures = result["figures"]
    page = pathlib.Path(path).read_text().split(PAGE_MARK)[0] + PAGE_MARK + "\n\n"
    page += "".join(f"- {key}: {value}\n" for key, value in result["versions"].items())
    page += f"- time: {took(result)}\n"
    for title, lines in notes(figures):
        page += f"\n{title[0].upper()}{title[1:]}:\n\n" + "".join(f"- {line}\n" for line in lines)
    heads, lines = table(figures, lambda name: f"`{name}`")
    page += "\n## Instructions of an operation\n\n"
    page += markdown([""] + heads + [""], [[name, *cells, more] for name, cells, more in lines])
    told = parts(figures)
    peers = [peer for peer in PEERS if any(peer in row for row in told.values())]
    if told:
        page += "\n## Of these in the hypervisor, and exits to it\n\n"
        page += markdown([""] + [f"{peer}{what}" for peer in peers for what in ("", ", exits")],
                         [[f"`{name}`"] + [each for peer in peers for each in part_cells(row, peer)]
                          for name, row in told.items()])
    pathlib.Path(path).write_text(page)


def kvm_row(name, row):
    """A row of data/kvm-mark.json."""
    op, *words = name.split()
    line = {"op": op}
    for word in words:
        line |= {"npt": int(word[4:])} if word.startswith("npt=") else {"roots": int(word)}
    for column, peer in ("npt1", "kvm-npt"), ("npt0", "kvm-shadow"):
        line |= {column: cell(row, peer)} if total(row, peer) is not None else {}
    return line


def write_kvm(result, path):
    rows = rows_of(result["figures"]).items()
    lines = [json.dumps(kvm_row(name, row)) for name, row in rows
             if is_mark(name) and is_measured(row)]
    pathlib.Path(path).write_text("[\n" + ",\n".join(lines) + "\n]\n")


def markdown(heads, lines):
    text = "| " + " | ".join(heads) + " |\n|---" + "|---:" * (len(heads) - 1) + "|\n"
    return text + "".join("| " + " | ".join(line) + " |\n" for line in lines)


COLOURS = {"bare": "#999999", "kvm-npt": "#f4a582", "kvm-shadow": "#ca0020",
           "rhizome-npt": "#92c5de", "rhizome-shadow": "#0571b0"}
CHART = """set terminal svg size 1500,1100 dynamic background rgb 'white' font 'sans,12'
set output '{path}'
set style data histograms
set style histogram clustered gap 1
set style fill solid noborder
set boxwidth 0.95
set xtics rotate by -40 left noenhanced scale 0
set grid ytics
set key outside top center horizontal noenhanced
set lmargin 9
set rmargin 9
set multiplot layout 2,1
{panels}unset multiplot
"""


def chart_rows(figures):
    """One row an operation of the marks (that with the most roots), and the others all."""
    rows = {name: row for name, row in rows_of(figures).items() if is_measured(row)}
    chosen = {name.split()[0] + " ".join(word for word in name.split() if "=" in word): name
              for name in rows if is_mark(name)}
    return ([(name, rows[name]) for name in chosen.values()],
            [(name, row) for name, row in rows.items() if not is_mark(name)])


def panel(number, title, more, rows, peers, value):
    """gnuplot's lines of one histogram; value(row, peer) may be None."""
    data = "".join(f'"{name}" ' + " ".join(str(value(row, peer) or "?") for peer in peers) + "\n"
                   for name, row in rows)
    plots = ", ".join(f"$rows{number} using {i}" + (":xtic(1)" if i == 2 else "") +
                      f" title '{peer}' linecolor rgb '{COLOURS[peer]}'"
                      for i, peer in enumerate(peers, 2))
    return (f"$rows{number} << end\n{data}end\nset title \"{title}\" noenhanced\n{more}\n"
            f"plot {plots}\n")


def write_chart(result, path):
    """Two histograms by gnuplot."""
    figures = result["figures"]
    peers = [peer for peer in PEERS if peer in figures]
    marks, linux = chart_rows(figures)
    panels = ""
    if marks:
        panels += panel(1, "mark: emulated instructions of an operation", "set logscale y", marks,
                        peers, total)
    if linux and "bare" in figures:
        panels += panel(2, "Linux: emulated instructions, times bare's",
                        "unset logscale y\nset yrange [0:*]", linux,
                        [peer for peer in peers if peer != "bare"],
                        lambda row, peer: factor(row, peer, "bare"))
    subprocess.run(["gnuplot"], input=CHART.format(path=path, panels=panels), text=True, check=True)
