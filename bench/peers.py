#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The same work on the bare emulated machine, on Linux' KVM and on Rhizome.

All run under QEMU TCG with -icount shift=0,sleep=off, so that the TSC counts emulated instructions
and a run can be repeated: figures do not depend on how busy this machine is, and two systems run at
a time. KVM is Debian's, with Debian's QEMU (guests/kvmhost); its host kernel has mitigations=off.
Prints a table with ratios, rows where KVM is ahead first, and what the targets say; writes every
figure, version and command line as JSON. A system that does not do its work is an error with its
console.

usage: bench/peers.py [--build DIR] [--only PEER,…] [--work mark,linux,l2] [--rows ROW,…]
                      [--jobs N] [--json FILE] [--page FILE] [--chart FILE]
                      [--kvm FILE] [--from JSON]
       --page writes the table in Markdown, --chart an SVG of it, --kvm KVM's figures of the marks
       as data/kvm-mark.json has them; --from shows an earlier run's figures, and runs nothing
       PEER is bare, kvm-npt, kvm-shadow, rhizome-npt or rhizome-shadow
"""
import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import peers_run
import peers_show
from peers_run import PEERS, ROOT, WORKS, PeerError


def version(*line):
    """The first line that a program prints; empty without that program."""
    try:
        done = subprocess.run(line, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip().split("\n")[0]


def kernel_version(path):
    """What a bzImage says of itself [Linux Documentation, x86 boot protocol, kernel_version]."""
    image = path.read_bytes()
    at = int.from_bytes(image[0x20e:0x210], "little") + 0x200
    return image[at:image.index(b"\0", at)].decode().split(", RO-rootFS")[0]


def versions(options):
    return {"date": datetime.date.today().isoformat(),
            "qemu": version("qemu-system-x86_64", "--version"),
            "kernel": kernel_version(peers_run.kernel(options)),
            "compiler": version("gcc", "--version"),
            "rhizome": version("git", "-C", str(ROOT), "describe", "--always", "--dirty")}


def options_of(arguments):
    options = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1])
    options.add_argument("--build", default=str(ROOT / "build"))
    options.add_argument("--only", default=",".join(PEERS))
    options.add_argument("--work", default=",".join(WORKS))
    options.add_argument("--rows", default="")
    options.add_argument("--jobs", type=int, default=2)
    for name in "--json", "--page", "--chart", "--kvm", "--from":
        options.add_argument(name)
    options = options.parse_args(arguments)
    options.build = os.path.abspath(options.build)
    options.peers, options.works = options.only.split(","), options.work.split(",")
    for given, known in (options.peers, PEERS), (options.works, WORKS):
        for name in given:
            if name not in known:
                sys.exit(f"bench/peers.py: {name}: one of {', '.join(known)}")
    return options


def run_job(options, work, peer, more):
    """(command lines, rows, seconds) of one boot."""
    start = time.monotonic()
    lines, rows = WORKS[work][0](options, peer, *more)
    seconds = time.monotonic() - start
    print(f"{' '.join(map(str, (peer, work, *more)))}: {seconds:.0f} s", file=sys.stderr,
          flush=True)
    return lines, rows, seconds


def run_jobs(options, jobs):
    """{job: what run_job returns}; the first that fails ends the program."""
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        # The longest are the last in the table: they begin first.
        begun = {pool.submit(run_job, options, *job): job for job in reversed(jobs)}
        for each in concurrent.futures.as_completed(begun):
            if isinstance(each.exception(), (PeerError, OSError)):
                pool.shutdown(wait=False, cancel_futures=True)
                work, _, more = begun[each]
                sys.exit(f"bench/peers.py: {' '.join((work, *map(str, more)))}:"
                         f" {each.exception()}")
    return {job: each.result() for each, job in begun.items()}


def measure(options):
    """Every peer at every work."""
    fetch = subprocess.run([ROOT / "guests/fetch", "--kvm", f"{options.build}/guests/kvm"])
    if fetch.returncode:
        sys.exit(fetch.returncode)
    result = {"versions": versions(options), "unit": "emulated instructions",
              "figures": {peer: {} for peer in PEERS if peer in options.peers}, "commands": {},
              "seconds": {}}
    start = time.monotonic()
    jobs = [(work, peer, more) for work in options.works for peer in result["figures"]
            for more in WORKS[work][1]]
    done = run_jobs(options, jobs)
    for work, peer, more in jobs:
        lines, rows, seconds = done[work, peer, more]
        result["commands"].setdefault(peer, []).extend(lines)
        result["seconds"][" ".join((peer, work, *map(str, more)))] = round(seconds)
        result["figures"][peer] |= rows
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    result["seconds"] |= {"all": round(time.monotonic() - start),
                          "of processors": round(used.ru_utime + used.ru_stime)}
    return result


def main():
    options = options_of(sys.argv[1:])
    earlier = vars(options)["from"]
    result = json.loads(pathlib.Path(earlier).read_text()) if earlier else measure(options)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    peers_show.print_table(result)
    if options.page:
        peers_show.write_page(result, options.page)
    if options.chart:
        peers_show.write_chart(result, options.chart)
    if options.kvm:
        peers_show.write_kvm(result, options.kvm)


if __name__ == "__main__":
    main()
