# SPDX-License-Identifier: MIT
"""What the tests that record a KVM host share: the host, and figures out of a trace."""
import collections
import pathlib
import shutil
import subprocess
import sys

from running import check, finish, skip

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "guests/kvmhost"))
import host  # noqa: E402,F401 (its folder is named one line above; for those who import this)

HEAD = ROOT / "tests/system/host_script.sh"


def prepare(folder):
    """Sees to it that a host can be booted from folder, or ends the test as skipped."""
    if not shutil.which("qemu-system-x86_64"):
        skip("no QEMU (package qemu-system-x86)")
        finish()
    fetched = subprocess.run([ROOT / "guests/fetch", "--kvm", folder], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True)
    if fetched.returncode:
        skip(fetched.stderr.strip())
        finish()


def boot(what, folder, patience, script, out, options, files, programs):
    """A host that must come to its end; returns its console. Before the script stands
    host_script.sh, which bounds all that it waits for, so a machine that stands still has itself
    stopped: it is run once more, and where it stood is told. QEMU 7.2 with SVM loses a timer
    interrupt now and then: it pends in the APIC, and the processor sleeps on. A one-shot timer is
    then never set again; the periodic tick asks anew."""
    options.append += " highres=off nohz=off"
    script = f"#!/bin/sh\npatience={patience}\n{HEAD.read_text()}{script}"
    for again in (True, False):
        try:
            return host.run(folder, script, out, options, files, programs)
        except host.HostHung as error:
            if again:
                print("\n".join(f"note: {line}" for line in f"{what}: {error}".splitlines()))
            else:
                check(False, f"{what} boots and ends, twice", error)
        except host.HostError as error:
            check(False, f"{what} boots and ends", error)
            break
    return finish()


def requests_by_table(trace):
    """How often each table was asked for as a root."""
    return collections.Counter(event.values[0] for event in trace.events
                               if event.kind == "request")
