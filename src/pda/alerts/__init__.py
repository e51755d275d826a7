"""Alerts: what is wrong with the mail or with the service itself, told to whoever should know.

- `conditions`: figures → readings, each wrong, right or in between (pure)
- `course`: readings → what is raised, told again, cleared (pure)
- `wording`: what is told, for people and for programs (pure)
- `mail`, `hook`: how it is sent, out of the outbox
- `faults`: what the service's own log tells as errors
- `room`: looks at intervals, stores and sends

What is kept of an alert, and its figures, belong to `store.alerts`.
"""

from pda.alerts.room import Alerts

__all__ = ["Alerts"]
