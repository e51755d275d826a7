"""The pages for people.

    view.py       range and filters, as they stand in the URL
    layout.py     the frame: navigation, filters, reception; the page that says why there is none
    wording.py    how times and numbers are written
    outcomes.py   the states of recipients as pages show them
    charts.py     numbers → shapes
    figures.py    what was counted → charts, tallies, rates beside those before
    overview.py trouble.py first.py   the first page; where mail is not delivered; what to do first
    messages.py search.py  recipients by a text and facets; what a text may mean
    facets.py     what they can be narrowed by, with numbers
    message.py    the story of one message
    places.py     a recipient domain, a provider
    recipients.py one recipient
    alerts.py alarms.py  what is wrong, and what was; alerts as pages show them
    system.py     the service itself, who may ask, who changed what
    counting.py sample.py  what pages ask of what was counted; the latest attempts, where nothing is
    holding.py    answers that hold for a minute
    missing.py    how complete the picture is, in sentences
    bounces.py rejects.py  why mail fails, and what no rule knows; who was refused at the door
    workbench.py  a new rule: tried on what is stored, and saved
    original.py   links to the original's views

Owns their paths. A page asks the store by `queries`, and the service by `ports`; everything from
the log is hostile text, which templates escape.
"""

from __future__ import annotations

from quart.app import Quart

from pda.web.asking import Asker
from pda.web.pages.alerts import AlertsPage
from pda.web.pages.bounces import BouncesPage
from pda.web.pages.first import TestMessage
from pda.web.pages.layout import Layout
from pda.web.pages.message import MessagePage
from pda.web.pages.messages import MessagesPage
from pda.web.pages.missing import Completeness
from pda.web.pages.original import OriginalLinks
from pda.web.pages.overview import OverviewPage
from pda.web.pages.places import PlacesPage
from pda.web.pages.recipients import RecipientsPage
from pda.web.pages.rejects import RejectsPage
from pda.web.pages.system import SystemPage
from pda.web.pages.workbench import WorkbenchPage
from pda.web.ports import Site


def register(app: Quart, site: Site, asker: Asker) -> None:
    """Takes the paths of all pages."""
    layout = Layout(site, asker)
    layout.register(app)
    completeness = Completeness(asker)
    OverviewPage(site, asker, layout, completeness).register(app)
    TestMessage(site.service, asker).register(app)
    MessagesPage(asker, layout).register(app)
    MessagePage(asker, layout).register(app)
    PlacesPage(asker, layout).register(app)
    RecipientsPage(site, asker, layout).register(app)
    AlertsPage(site.service, asker, layout).register(app)
    SystemPage(site, asker, layout, completeness).register(app)
    BouncesPage(site, asker, layout).register(app)
    RejectsPage(asker, layout).register(app)
    WorkbenchPage(site.service, asker, layout).register(app)
    OriginalLinks(site, layout).register(app)
