"""The pages for people.

    view.py       range and filters, as they stand in the URL
    layout.py     the frame: navigation, filters, reception; the page that says why there is none
    wording.py    how times and numbers are written
    outcomes.py   the states of recipients as pages show them
    charts.py     numbers → shapes
    overview.py first.py   the first page, and what it says while there is no mail
    original.py   links to the original's views

Owns their paths. A page asks the store by `queries`, and the service by `ports`; everything from
the log is hostile text, which templates escape.
"""

from __future__ import annotations

from quart.app import Quart

from pda.web.asking import Asker
from pda.web.pages.layout import Layout
from pda.web.pages.original import OriginalLinks
from pda.web.pages.overview import OverviewPage
from pda.web.ports import Site


def register(app: Quart, site: Site, asker: Asker) -> None:
    """Takes the paths of all pages."""
    layout = Layout(site, asker)
    layout.register(app)
    OverviewPage(site, asker, layout).register(app)
    OriginalLinks(site, layout).register(app)
