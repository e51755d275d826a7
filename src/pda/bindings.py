"""`[clients]` as the correlator takes it: where a client id is looked for, and who may claim which.

Owns nothing else, so that whoever only reads lines need not open what writes them.
"""

from __future__ import annotations

import re
from ipaddress import ip_network

from pda import config
from pda.maillog.clients import Binding, ClientRules


def client_rules(settings: config.ClientSettings) -> ClientRules:
    """`[clients]` as the correlator takes it."""
    bindings = {
        name: Binding(
            tuple(ip_network(network) for network in one.networks),
            frozenset(one.sasl_users),
            one.local,
        )
        for name, one in settings.bindings.items()
    }
    pattern = re.compile(settings.message_id_pattern)
    return ClientRules(settings.order, pattern, settings.header, bindings)
