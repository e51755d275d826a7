"""`/api/v1` as a whole: its rooms in the order in which they are described, and the description.

Owns which rooms there are. What a room answers is its own business.
"""

from __future__ import annotations

from quart.app import Quart

from pda.web.access_api import AccessApi
from pda.web.alerts_api import AlertsApi
from pda.web.api import Api
from pda.web.asking import Asker
from pda.web.coverage_api import CoverageApi
from pda.web.editing import Editor
from pda.web.erasure_api import ErasureApi
from pda.web.feed import Feed
from pda.web.inventory import Inventory
from pda.web.lists import Lists
from pda.web.messages import Messages
from pda.web.openapi import Description
from pda.web.ports import Site
from pda.web.rejects import RejectsApi
from pda.web.routes import Router
from pda.web.rules_api import RulesApi
from pda.web.stats import Statistics
from pda.web.suppressions import Suppressing
from pda.web.webhooks import WebhooksApi


def register(app: Quart, site: Site, asker: Asker) -> None:
    """Takes every path of the API, and what describes it; `/healthz` and `/metrics` too."""
    service = Api(site, asker)
    service.register(app)
    router = Router(app)
    for group, room in (
        ("Mail", Lists(asker, site.settings.page)),
        ("Mail", Messages(asker)),
        ("What changed", Feed(site, asker)),
        ("Webhooks", WebhooksApi(site, asker)),
        ("Rejects", RejectsApi(asker)),
        ("Addresses", Suppressing(site, asker)),
        ("Statistics", Statistics(asker)),
        ("Bounce rules", RulesApi(site, asker)),
        ("Access", AccessApi(asker)),
        ("Erasure", ErasureApi(asker, Editor(site.service))),
        ("Service", service),
        ("Service", AlertsApi(asker)),
        ("Service", CoverageApi(site.service, asker)),
        ("Service", Inventory(site, asker)),
    ):
        router.add(group, room)
    Description(router, site.service.version).register()
