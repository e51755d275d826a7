"""The rule workbench: a new rule, tried on what is stored, and saved to the list.

Owns the form and what is shown of a try. What a rule is, and whether it may be saved, is the
service's business: see `ports.RuleBook`. What is typed is hostile text, as what comes from the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import msgspec
import trio
from quart import Response, request
from quart.app import Quart

from pda.store.audit import Deed, Note
from pda.web.asking import Asker
from pda.web.editing import author, require_admin, require_whole
from pda.web.pages.layout import Layout
from pda.web.ports import Draft, Service


class WorkbenchPage:
    """Answers `/rules/workbench`."""

    def __init__(self, service: Service, asker: Asker, layout: Layout) -> None:
        self._service = service
        self._asker = asker
        self._layout = layout

    def register(self, app: Quart) -> None:
        """Takes its path."""
        path = "/rules/workbench"
        app.add_url_rule(path, "workbench_page", self.show)
        app.add_url_rule(path, "try_rule", self.act, methods=["POST"])

    async def show(self) -> Response:
        """The empty form, or the good news that a rule was saved."""
        require_whole()
        return await self._page(Draft(), saved=request.args.get("saved", ""))

    async def act(self) -> Response:
        """Tries a rule, saves it, or gives the whole list with it."""
        require_whole()
        form = await request.form
        try:
            draft = self._draft(form)
            if form.get("do") == "save":
                return await self._save(draft, form.get("digest", ""))
            if form.get("do") == "download":
                return _download(self._service.rulebook.composed(draft))
            return await self._tried(draft)
        except ValueError as error:
            return await self._page(_filled_in(form), 409, refused=str(error))

    def _draft(self, form: Mapping[str, str]) -> Draft:
        if "stub" in form:
            return self._service.rulebook.drafted(form["stub"])
        return _filled_in(form)

    async def _tried(self, draft: Draft) -> Response:
        attempt = await self._asker.ask_much(self._service.rulebook.attempt, draft)
        return await self._page(draft, attempt=attempt)

    async def _save(self, draft: Draft, digest: str) -> Response:
        require_admin()
        save = partial(self._service.rulebook.save, draft, digest)
        await trio.to_thread.run_sync(save)
        self._service.soon(Note(Deed("put rule", draft.id, draft.category)), author())
        said = await self._service.reload_rules(author())
        if self._service.rules_status().refused:
            return await self._page(draft, 409, refused=said)
        view = self._layout.view()
        link = view.link(request.path, saved=draft.id)
        return Response("", 303, {"Location": request.root_path + link})

    async def _page(
        self,
        draft: Draft,
        status: int = 200,
        *,
        attempt: msgspec.Struct | None = None,
        refused: str = "",
        saved: str = "",
    ) -> Response:
        book = self._service.rulebook
        rules = book.described()
        page = await self._layout.page(
            "workbench.html",
            self._layout.view(),
            draft=draft,
            attempt=attempt,
            refused=refused,
            saved=next((one for one in rules if saved == getattr(one, "id", "")), None),
            rules=rules,
            categories=book.categories,
            why_not_saved=book.why_not_saved,
            digest=self._service.rules_status().digest,
        )
        page.status_code = status
        return page


def _filled_in(form: Mapping[str, str]) -> Draft:
    """Blanks count in patterns, as they do in the original's lists; empty lines do not."""
    lines = form.get("patterns", "").replace("\r", "").split("\n")
    fields = ("id", "category", "type", "on", "dsn", "before")
    return Draft(
        **{name: form.get(name, "").strip() for name in fields},
        patterns=tuple(line for line in lines if line.strip()),
    )


def _download(xml: bytes) -> Response:
    attached = {"Content-Disposition": 'attachment; filename="bounce-rules.xml"'}
    return Response(xml, 200, attached, content_type="text/plain; charset=utf-8")
