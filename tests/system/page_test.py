#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The page of `rhizome replay --html`: it says what the JSON says, needs nothing from elsewhere,
and headless Chromium shows it in the light, in the dark, on a telephone's width and on paper.

usage: page_test.py RHIZOME
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zlib

from running import check, finish, rhizome

PROGRAM = sys.argv[1]
DATA = pathlib.Path(__file__).resolve().parents[2] / "data"
CHROMIUM = ["timeout", "-k", "5", "60", "chromium", "--headless", "--no-sandbox", "--disable-gpu",
            "--hide-scrollbars", "--disable-extensions", "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND"]
DARK = "--blink-settings=preferredColorScheme=0"


def chromium(home, *arguments):
    """Runs Chromium with a home of its own; what it prints."""
    done = subprocess.run([*CHROMIUM, f"--user-data-dir={home}/profile", *arguments], cwd=home,
                          env={**os.environ, "HOME": str(home)}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace")
    check(done.returncode == 0, f"chromium {arguments[0]}", done.stderr[-2000:])
    return done.stdout


def pixels(path):
    """(width, height, rows of RGB bytes) of a PNG without interlace."""
    data, at, packed, head = path.read_bytes(), 8, b"", None
    while at < len(data):
        length, kind = int.from_bytes(data[at:at + 4], "big"), data[at + 4:at + 8]
        body = data[at + 8:at + 8 + length]
        head = body if kind == b"IHDR" else head
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    width, height = (int.from_bytes(head[i:i + 4], "big") for i in (0, 4))
    size = {2: 3, 6: 4}[head[9]]
    raw, rows, before = zlib.decompress(packed), [], bytes(width * size)
    for y in range(height):
        line = bytearray(raw[y * (width * size + 1) + 1:(y + 1) * (width * size + 1)])
        unfilter(raw[y * (width * size + 1)], line, before, size)
        rows.append(bytes(line))
        before = line
    return width, height, rows, size


def unfilter(kind, line, before, size):
    """A PNG line's filter undone in place."""
    for i in range(len(line)) if kind else ():
        left = line[i - size] if i >= size else 0
        corner = before[i - size] if i >= size else 0
        up = before[i]
        nearest = min((left, up, corner), key=lambda v: abs(left + up - corner - v))
        line[i] = (line[i] + (0, left, up, (left + up) // 2, nearest)[kind]) & 255


def shown(home, page, width, *arguments):
    """The background's brightness, and how many colours the picture has."""
    picture = home / "page.png"
    chromium(home, f"--screenshot={picture}", f"--window-size={width},600", *arguments,
             page.as_uri())
    _, _, rows, size = pixels(picture)
    colours = {row[i:i + 3] for row in rows[::7] for i in range(0, len(row), size * 5)}
    return sum(rows[3][:3]) // 3, len(colours)


def contents(page, figures):
    """What the page says is what the JSON says; nothing is fetched, nothing runs."""
    text = page.read_text()
    for word in ("<script", "http:", "https:", "src=", "href=", "url(", "@import", "javascript:"):
        check(word not in text, f"no {word} in the page")
    check(figures["choice"]["sentence"] in text, "the choice")
    check(f"<b>{figures['requests']:,}</b>" in text, "the requests")
    for row in figures["what_if"]:
        if row["contexts"] == "separate":
            continue
        cells = (f"<tr><td>{row['policy']}<td>shared<td>{row['capacity']}<td>{row['current']:,}"
                 f"<td>{row['cached']:,}<td>{row['missed']:,}<td>")
        if cells not in text:
            check(False, f"a row of the page: {row}")
            break
    else:
        check(True, "all rows of the page")
    for heading in ("Hit rate against capacity", "Reuse distances", "What a miss costs",
                    "Roots of each vCPU over time", "Why a root was asked for",
                    "A TLB tag for each root"):
        check(f"<h2>{heading}" in text, heading)


def browser(home, page, charts):
    """Chromium's view of it."""
    dom = chromium(home, "--dump-dom", page.as_uri())
    check(dom.count("<figure>") == charts and dom.count("</html>") == 1, "charts",
          dom.count("<figure>"))
    check("NaN" not in dom and "inf" not in re.sub(r"\w*inf\w+", "", dom), "numbers are numbers")
    # What a page with a script of the test's own measures: nothing is wider than the window.
    probe = home / "probe.html"
    script = ("<script>addEventListener('load',()=>{document.title=[innerWidth,"
              "document.documentElement.scrollWidth,document.querySelectorAll('svg').length]})"
              "</script>")
    probe.write_text(page.read_text().replace("</body>", script + "</body>"))
    for width in (1000, 500):
        measured = chromium(home, "--dump-dom", f"--window-size={width},900", probe.as_uri())
        title = re.search(r"<title>(\d+),(\d+),(\d+)</title>", measured)
        check(title and int(title[2]) <= int(title[1]), f"fits a window of {width}",
              title and title[0])
    light, colours = shown(home, page, 1000)
    check(light > 230 and colours > 20, "light", (light, colours))
    dark, colours = shown(home, page, 1000, DARK)
    check(dark < 60 and colours > 20, "dark", (dark, colours))
    paper = home / "page.pdf"
    chromium(home, f"--print-to-pdf={paper}", DARK, page.as_uri())
    check(paper.read_bytes().startswith(b"%PDF") and paper.stat().st_size > 20000, "paper")


def page_of(home, trace, *arguments):
    """The page and the figures of a trace."""
    page, figures = home / "page.html", home / "page.json"
    status, _, err = rhizome(PROGRAM, "replay", "--html", str(page), "--json", str(figures),
                             str(trace), *arguments)
    check(status == 0 and err == "", f"page of {trace}", err)
    return page, json.loads(figures.read_text())


def nested(path):
    """A trace of two vCPUs, L2 under nested paging, with a name that HTML must not see as it is."""
    lines = []
    for i in range(600):
        task, time = 7 + i % 2, f"{1 + i / 1000:.6f}"
        lines.append(f" q-{task} [000] ..... {time}: kvm_nested_vmenter: nested_npt=y nested_cr3: "
                     f"{0x5000 + i % 5 * 0x1000:#x}")
        lines.append(f" q-{task} [000] ..... {time}: kvm_nested_vmexit_inject: reason: msr")
    path.write_text("\n".join(lines) + "\n")


def main():
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        page, figures = page_of(home, DATA / "kvm-shadow-cut.txt.zst")
        contents(page, figures)
        if not shutil.which("chromium"):
            check(False, "chromium is there")
            finish()
        browser(home, page, charts=6)
        page, _ = page_of(home, DATA / "kvm-roots.dat.zst", "--policy", "victim")
        check(page.read_text().count('class="line p') == 3, "one policy: its line, the legend's")
        odd = home / "a<b>&\"c\".txt"
        nested(odd)
        page, figures = page_of(home, odd)
        text = page.read_text()
        check("a&lt;b>&amp;&quot;c&quot;.txt" in text and "a<b>" not in text, "a name escaped")
        check("a cache for each MMU" in text and len(figures["by_vcpu"]) == 2, "two arrangements")
        browser(home, page, charts=6)
    finish()


if __name__ == "__main__":
    main()
