# SPDX-License-Identifier: BSD-3-Clause
"""All cases, by family."""

import fnmatch
import importlib

from case import FAMILIES

for module in ("cases_arp", "cases_ip", "cases_frag", "cases_route", "cases_nf", "cases_corners"):
    importlib.import_module(module)


def all_cases():
    for name, makers in FAMILIES.items():
        for maker in makers:
            for case in maker():
                case.family, case.name = name, f"{name}/{case.name}"
                yield case


def select(families=None, names=None, fast=False):
    chosen = [case for case in all_cases() if (not families or case.family in families.split(",")) and
              (not names or any(fnmatch.fnmatch(case.name,
                  glob) for glob in names.split(","))) and (case.fast or not fast)]
    assert len({case.name for case in chosen}) == len(chosen), "two cases of one name"
    return chosen
