"""What filters offer to choose from.

Owns the lists of names that pages show. Takes reading connections.
"""

from __future__ import annotations

from pda.store.database import Connection


def hosts(connection: Connection) -> list[str]:
    """Mail hosts that any line came from, by name."""
    rows = connection.execute("SELECT name FROM host ORDER BY name").fetchall()
    return [str(name) for (name,) in rows]
