"""Why a delivery failed: from the text in brackets to a verdict, by rules that are data.

Pure: bytes and failures in, rules and verdicts out. In reading order:

- `categories`: the vocabulary, and its names elsewhere (the original's 21, Sisimai's, IANA's)
- `reply`: a failure taken apart: reply, codes, stage; everything that names somebody masked
- `patterns`: RE2, with bounded memory
- `rules`: the format of a rule list, and its mistakes
- `judge`: the first rule that holds, and why
- `check`: what a validator says beyond that: samples, shadowed rules
- `proof`: what a list does with failures that were seen
"""

from pda.maillog.bounce.categories import (
    BY_NAME,
    CATEGORIES,
    FROM_CODE,
    FROM_SISIMAI,
    ORIGINAL_NAMES,
    UNDECIDED,
    UNDETERMINED,
    Category,
    original_category,
)
from pda.maillog.bounce.check import check
from pda.maillog.bounce.judge import Explanation, Rules, is_final, load
from pda.maillog.bounce.patterns import Operator
from pda.maillog.bounce.reply import Evidence, examine, mask
from pda.maillog.bounce.rules import Mistake, Rule, RuleError, RuleList, Sample

__all__ = [
    "BY_NAME",
    "CATEGORIES",
    "FROM_CODE",
    "FROM_SISIMAI",
    "ORIGINAL_NAMES",
    "UNDECIDED",
    "UNDETERMINED",
    "Category",
    "Evidence",
    "Explanation",
    "Mistake",
    "Operator",
    "Rule",
    "RuleError",
    "RuleList",
    "Rules",
    "Sample",
    "check",
    "examine",
    "is_final",
    "load",
    "mask",
    "original_category",
]
