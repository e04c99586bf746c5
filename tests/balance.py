#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Nothing is lost: check the JSON summaries that run and replay write.

    tests/balance.py SUMMARY.json ...

    rx + originated + fragments_created + copies = tx + delivered + fragmented + sum(drops) + held

and at the end of a run every slab cache is empty. Prints what is wrong and exits 1.
"""

import json
import sys

REQUIRED = ("ports", "drops", "originated", "fragmented", "fragments_created", "copies", "delivered", "held",
            "route_cache", "slab")


def complaints(summary):
    missing = [key for key in REQUIRED if key not in summary]
    if missing:
        yield f"summary lacks {', '.join(missing)}"
        return
    ports = summary["ports"].values()
    came = {"rx": sum(p["rx_packets"] for p in ports)}
    came |= {key: summary[key] for key in ("originated", "fragments_created", "copies")}
    went = {"tx": sum(p["tx_packets"] for p in ports)}
    went |= {key: summary[key] for key in ("delivered", "fragmented", "held")}
    went["drops"] = sum(summary["drops"].values())
    if sum(came.values()) != sum(went.values()):
        yield f"not balanced: {came} = {sum(came.values())}, but {went} = {sum(went.values())}; {summary['drops']}"
    negative = {key: value for key, value in {**came, **went}.items() if value < 0}
    if negative:
        yield f"negative counters: {negative}"
    for cache in summary["slab"]:
        if cache["active_objs"]:
            yield f"slab cache {cache['name']}: {cache['active_objs']} objects left"


def main():
    wrong = 0
    for name in sys.argv[1:]:
        with open(name, encoding="utf-8") as file:
            for complaint in complaints(json.load(file)):
                print(f"{name}: {complaint}")
                wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
