"""`/api/v1/rules`, `classify` and `bounces/unclassified`: the rules, and the proof of them.

Owns their parameters and members. What rules are is the service's business: see `ports.RuleBook`.
They are about the whole service, so a client principal may ask for a verdict only.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from quart import Response, g, request
from quart.app import Quart

from pda.maillog.events import Failure
from pda.store.database import Connection
from pda.times import rfc3339
from pda.web.asking import Asker
from pda.web.errors import Refused
from pda.web.original_api import same_origin
from pda.web.ports import RulesStatus, Site

_TIMES = frozenset(["last_at", "loaded_at", "refused_at", "judged_at"])
_MOST = 1000
_USUAL = 100


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A failure to be classified: the text in brackets, and what else the log says."""

    reason: str
    dsn: str = ""
    status: str = ""
    relay: str = ""


class RulesApi:
    """The rules, for programs."""

    def __init__(self, site: Site, asker: Asker) -> None:
        self._service = site.service
        self._asker = asker

    def register(self, app: Quart) -> None:
        """Takes its paths."""
        app.add_url_rule("/api/v1/rules", "rules", self.rules)
        app.add_url_rule("/api/v1/rules/stats", "rule_stats", self.stats)
        app.add_url_rule("/api/v1/bounces/unclassified", "unclassified", self.unclassified)
        for path, name, view in (
            ("/api/v1/classify", "classify", self.classify),
            ("/api/v1/rules/try", "try_rules", self.trial),
            ("/api/v1/rules/reload", "reload_rules", self.reload),
        ):
            app.add_url_rule(path, name, view, methods=["POST"])

    async def rules(self) -> Response:
        """The list in force."""
        _not_for_clients()
        status, rules = self._service.rules_status(), self._service.rulebook.described()
        return _json({"list": rules_members(status), "rules": rules})

    async def stats(self) -> Response:
        """Hits, last hit and a sample of each rule."""
        _not_for_clients()
        return _json(await self._asker.ask(self._encoded_usage))

    async def unclassified(self) -> Response:
        """Failures that no rule knows, grouped by their masked text, most frequent first."""
        _not_for_clients()
        return _json(await self._asker.ask(self._encoded_unclassified, _limit()))

    async def classify(self) -> Response:
        """The verdict on the failure in the body, and why."""
        try:
            asked = msgspec.json.decode(await request.get_data(as_text=False), type=Asked)
        except msgspec.DecodeError as error:
            raise Refused(400, f"the body is no failure to be classified: {error}") from None
        failure = Failure(asked.reason, asked.dsn, asked.status, asked.relay)
        return _json(self._service.rulebook.explained(failure))

    async def trial(self) -> Response:
        """What the list in the body would change of what is stored; it changes nothing."""
        _not_for_clients()
        _from_here()
        xml = await request.get_data(as_text=False)
        assert isinstance(xml, bytes)
        try:
            return _json(await self._asker.ask(self._service.rulebook.trial, xml))
        except ValueError as error:
            raise Refused(422, f"the list cannot be used: {error}") from None

    async def reload(self) -> Response:
        """Reads the list again; 422 and why where the one in force stays."""
        if not g.principal.is_admin:
            raise Refused(403, "a reload needs the role admin")
        _from_here()
        said = await self._service.reload_rules()
        status = self._service.rules_status()
        if status.refused:
            raise Refused(422, said)
        return _json({"message": said, "list": rules_members(status)})

    def _encoded_usage(self, connection: Connection) -> object:
        return {"rules": _members(self._service.rulebook.usage(connection))}

    def _encoded_unclassified(self, connection: Connection, limit: int) -> object:
        found = self._service.rulebook.unclassified(connection, limit)
        return {"unclassified": _members(found)}


def rules_members(status: RulesStatus) -> dict[str, object]:
    """The list in force, times as RFC 3339."""
    return _members([status])[0]


def _members(values: Sequence[msgspec.Struct]) -> list[dict[str, object]]:
    """By name, times as RFC 3339, null where there is none."""
    return [
        {
            name: (rfc3339(value) if value else None) if name in _TIMES else value
            for name, value in msgspec.structs.asdict(one).items()
        }
        for one in values
    ]


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), content_type="application/json")


def _limit() -> int:
    text = request.args.get("limit", str(_USUAL))
    if not (text.isdecimal() and 1 <= int(text[:9]) <= _MOST):
        raise Refused(400, f"parameter 'limit': {text!r} is not a number from 1 to {_MOST}")
    return int(text)


def _not_for_clients() -> None:
    if g.principal.client_id is not None:
        raise Refused(403, "this is about the whole service; your user sees one client only")


def _from_here() -> None:
    if not same_origin(request.headers, request.host_url):
        raise Refused(403, "this cannot be asked for from another site")
