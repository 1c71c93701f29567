"""Which data sets are for choosing, and which are for reporting.

Defaults are chosen on the one half. The other half says how good they are, and nobody looks at it while choosing. A
default that was changed because of the reporting half makes that half worthless.

The lists were drawn once, by `draw`, before the first measurement. They are written down here so that nothing changes
them by accident: a new data set is added to one of them by hand, by the same rule, and nothing moves from one to the
other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from benchmarks.quality.tables.dataset import DataSet
from benchmarks.quality.tables.sets import SETS

# Earlier defaults were chosen on these data sets, or earlier trials were made on them.
SEEN_BEFORE = (
    "spam7",
    "default",
    "caravan",
    "orange juice",
    "biopsy",
    "cells",
    "churn",
    "credit",
    "attrition",
    "titanic",
    "labour",
    "breast cancer",
    "digits",
    "mnist",
    "diamonds",
    "magic",
    "phoneme",
    "spambase",
    "telco",
    "satimage",
    "jobs",
    "diamond prices",
    "computers",
    "hotels",
    "deliveries",
    "checks",
)

CHOOSING: tuple[str, ...] = (
    "spam7",
    "default",
    "caravan",
    "orange juice",
    "biopsy",
    "cells",
    "churn",
    "credit",
    "attrition",
    "titanic",
    "labour",
    "breast cancer",
    "magic",
    "phoneme",
    "spambase",
    "chess",
    "pima",
    "telco",
    "monica",
    "mortgages",
    "pensions",
    "traits",
    "fertility",
    "recidivism",
    "digits",
    "mnist",
    "diamonds",
    "letter",
    "optdigits",
    "satimage",
    "splice",
    "marketing",
    "vehicle",
    "jobs",
    "chile",
    "poverty",
    "storms",
    "rodents",
    "diamond prices",
    "concrete",
    "deliveries",
    "hotels",
    "checks",
    "salaries",
    "computers",
    "earnings",
    "colleges",
    "pupils",
    "chemistry",
    "schools",
    "incomes",
    "films",
    "flights",
    "weather",
    "texas houses",
    "loans",
    "lectures",
    "fares",
    "students",
    "food",
    "countries",
)

REPORTING: tuple[str, ...] = (
    "german",
    "australian",
    "lending",
    "taxi",
    "crashes",
    "arrests",
    "stops",
    "email",
    "resumes",
    "smoking",
    "smoke ban",
    "insurance",
    "wives",
    "benefits",
    "drinkers",
    "light chains",
    "verbal",
    "votes",
    "suicides",
    "smokers",
    "placement",
    "health survey",
    "adult",
    "penbased",
    "segment",
    "texture",
    "contraceptive",
    "vowel",
    "leaves",
    "happiness",
    "covid",
    "force",
    "bird strikes",
    "pitches",
    "cars",
    "tuna",
    "houses",
    "trains",
    "wages 1988",
    "visits",
    "saratoga",
    "race",
    "birthdays",
    "wage",
    "young women",
    "growth",
    "vocabulary",
    "thermometers",
    "rain",
    "slid",
    "youth",
    "vietnam",
    "michigan",
    "injuries",
    "companies",
    "scorecard",
    "players",
    "bicycles",
)

HALVES = {"choosing": CHOOSING, "reporting": REPORTING}


def draw(sets: Iterable[DataSet] = tuple(SETS.values())) -> tuple[list[str], list[str]]:
    """Two halves of the data sets, by the hash of their names: those for choosing, and those for reporting.

    Of each task half of the data sets, rounded down, are for reporting: those with the least SHA-256 of their names,
    except for what was seen before and its kin. Kin are drawn together.
    """
    kept = list(sets)
    kin_seen = {one.kin for one in kept if one.name in SEEN_BEFORE} - {""}
    reporting: set[str] = set()
    for task in ("binary", "multiclass", "regression"):
        of_task = [one for one in kept if one.task == task]
        free = [one for one in of_task if one.name not in SEEN_BEFORE and one.kin not in kin_seen]
        by_hash = sorted(free, key=lambda one: hashlib.sha256((one.kin or one.name).encode()).hexdigest())
        reporting |= {one.name for one in by_hash[: len(of_task) // 2]}
    return [one.name for one in kept if one.name not in reporting], [one.name for one in kept if one.name in reporting]
