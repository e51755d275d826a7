"""One function per question.

Owns every SELECT that an interface needs. Each takes a reading connection and returns typed
values; times are µs since the epoch. Knows neither HTTP nor who asks: whoever may see one client
only gets that client's id into the `Filter`, and with it into the SQL.

- `filters`, `sources`: which rows are asked for, and what leads to them
- `rows`, `keyed`: what a row has, and how its texts are looked up
- `pages`: attempts, outcomes, messages, some at a time; `lists`: all of them
- `story`: all about one message
- `stats`: counts, rates and delays over time, answered from what is counted as it is written
- `short`: the same of a short time, from its rows
- `failures`: failed attempts over time, from their index
- `overview`: how much is stored, of whom
"""

from pda.store.queries.failures import failures
from pda.store.queries.filters import Filter
from pda.store.queries.keyed import Columns, Texts
from pda.store.queries.lists import Which, attempts, messages, outcomes, recipients
from pda.store.queries.overview import (
    FailureRow,
    StateCount,
    Totals,
    clients,
    hosts,
    latest_failures,
    oldest,
    states,
    totals,
)
from pda.store.queries.pages import (
    Bounds,
    ColumnsPage,
    CursorError,
    Page,
    Part,
    attempts_page,
    columns_page,
    messages_page,
    outcomes_page,
)
from pda.store.queries.rows import (
    ATTEMPTS,
    MESSAGES,
    OUTCOMES,
    AttemptRow,
    Listing,
    MessageRow,
    OutcomeRow,
)
from pda.store.queries.short import Rows
from pda.store.queries.short import read as short
from pda.store.queries.stats import (
    Counts,
    Delays,
    Group,
    Percentiles,
    Point,
    Scope,
    StatsError,
    Step,
    Top,
    What,
    delays,
    series,
    top,
)
from pda.store.queries.story import Link, RecipientStory, Story, StoryEvent, story

__all__ = [
    "ATTEMPTS",
    "MESSAGES",
    "OUTCOMES",
    "AttemptRow",
    "Bounds",
    "Columns",
    "ColumnsPage",
    "Counts",
    "CursorError",
    "Delays",
    "FailureRow",
    "Filter",
    "Group",
    "Link",
    "Listing",
    "MessageRow",
    "OutcomeRow",
    "Page",
    "Part",
    "Percentiles",
    "Point",
    "RecipientStory",
    "Rows",
    "Scope",
    "StateCount",
    "StatsError",
    "Step",
    "Story",
    "StoryEvent",
    "Texts",
    "Top",
    "Totals",
    "What",
    "Which",
    "attempts",
    "attempts_page",
    "clients",
    "columns_page",
    "delays",
    "failures",
    "hosts",
    "latest_failures",
    "messages",
    "messages_page",
    "oldest",
    "outcomes",
    "outcomes_page",
    "recipients",
    "series",
    "short",
    "states",
    "story",
    "top",
    "totals",
]
