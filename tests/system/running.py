# SPDX-License-Identifier: MIT
"""What tests that run `rhizome run` as a user would have in common: checks are counted and the
program is run under a time-out."""
import subprocess
import sys

LIMIT = 120  # seconds for one boot, ten times what it takes on an idle machine

counts = {"passed": 0, "failed": 0, "skipped": 0}


def check(ok, what, detail=""):
    """Counts one check; a failed one is printed with what was seen."""
    counts["passed" if ok else "failed"] += 1
    if not ok:
        print(f"not ok: {what}\n{detail}")


def skip(why):
    """Counts what this machine cannot check, and says why."""
    counts["skipped"] += 1
    print(f"skip: {why}")


def rhizome(program, *arguments, timeout=LIMIT, **keywords):
    """Runs the program; returns (status, stdout, stderr)."""
    done = subprocess.run(["timeout", "-k", "5", str(timeout + 20), program, *arguments],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", **keywords)
    return done.returncode, done.stdout.replace("\r", ""), done.stderr


def refused(program, arguments, word):
    """Bad arguments: status 2, nothing on stdout, one line on stderr that names the culprit."""
    status, out, err = rhizome(program, *arguments)
    check(status == 2 and out == "" and err.count("\n") == 1 and word in err,
          f"refused: {arguments}", f"{status}\n{out}{err}")


def finish():
    """Prints the counts and ends the test."""
    print(", ".join(f"{counts[name]} {name}" for name in ("passed", "failed", "skipped")))
    sys.exit(counts["failed"] != 0)
