# SPDX-License-Identifier: MIT
"""What a row of a benchmark is called: its operation and its parameters."""
NOT_PARAMETERS = {"suite", "op", "target", "count", "measured", "value", "unit"}


def name_of(row):
    return " ".join([row["op"]] + [f"{k}={v}" for k, v in row.items() if k not in NOT_PARAMETERS])
