"""The real service: a line's way from the socket to the answer, stops, kills, orders."""

from __future__ import annotations

import json
import resource
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path

import msgspec
import pytest
import trio

from pda import config
from pda.control import Caller
from pda.listening import listener_of
from pda.orders import MakeEdit, Reply
from pda.receive import Listener
from pda.rooms import open_rooms
from pda.service import RESTART, Service, web_settings
from pda.store import accounts, queries
from pda.store.accounts import PutUser
from pda.store.queries import Bounds
from pda.times import rfc3339
from pda.web.ports import Settings as WebSettings
from tests.running import PDA, Running, eventually, unpacked
from tests.support import LONG_ID, SHARED, attempt, message, needs_shared

NUMBERED = [
    line
    for n in range(2000)
    for line in message(f"4jXPlN1VQlz{n:04}", deliveries=[attempt(queue_id=f"4jXPlN1VQlz{n:04}")])
]


def attempts(service: Running) -> int:
    return len(service.attempts())


def test_from_socket_to_answer(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        service.send(message(deliveries=[attempt()]))
        (row,) = eventually(service.outcomes, bool)
        assert (row.state, row.client_id) == ("delivered", "shop")
        # Delivered at once: the original's interface leaves it out.
        assert service.result(f"/agent-read/shop/queue/{LONG_ID}") == []
        assert service.result("/agent-status/rcpt-address-counts") == {"shop": 1}


def test_udp(tmp_path: Path) -> None:
    with Running(tmp_path) as service, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for datagram in NUMBERED[:100]:
            sock.sendto(datagram, ("127.0.0.1", service.port("udp")))
        eventually(lambda: attempts(service), lambda n: n == 20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_loses_nothing_that_was_sent(tmp_path: Path, number: signal.Signals) -> None:
    """The sender has not closed its connection, and the service has just begun to read."""
    with Running(tmp_path) as service:
        with socket.create_connection(("127.0.0.1", service.port("tcp"))) as sock:
            sock.sendall(b"".join(line + b"\n" for line in NUMBERED))
            assert service.stop(number) == 0
        assert attempts(service) == 2000


def test_a_second_signal_does_not_kill_what_the_first_one_stops(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        assert service.process is not None
        with socket.create_connection(("127.0.0.1", service.port("tcp"))) as sock:
            sock.sendall(b"".join(line + b"\n" for line in NUMBERED))
            for _ in range(20):
                service.process.send_signal(signal.SIGINT)
            assert service.stop() == 0
        assert attempts(service) == 2000


def test_what_was_committed_survives_kill_9_and_open_entries_go_on(tmp_path: Path) -> None:
    head, tail = NUMBERED[:3], NUMBERED[3:5]
    with Running(tmp_path) as service:
        service.send(head)
        eventually(lambda: len(service.ask(queries.messages)), lambda n: n == 1)
        service.stop(signal.SIGKILL)
        service.start()
        service.send([*head, *tail])
        (row,) = eventually(service.attempts, bool)
        assert (row.client_id, row.status) == ("shop", "sent")


def test_a_second_service_does_not_start(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        done = service.pda("serve")
        assert done.returncode == 1
        assert b"another process writes" in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PDA_RECEIVE_LISTEN", "tcp://0.0.0.0:0", b"can be reached from other machines"),
        ("PDA_HTTP_BIND", "0.0.0.0:0", b"without TLS"),
        ("PDA_RULES_FILE", "/nonexistent.xml", b"rules.file: /nonexistent.xml cannot be read"),
        ("PDA_STORE_PATH", "/proc/nowhere/pda.db", b"/proc/nowhere"),
    ],
)
def test_what_cannot_work_is_one_clear_error(
    tmp_path: Path, variable: str, value: str, message: bytes
) -> None:
    done = Running(tmp_path, **{variable: value}).pda("serve")
    assert done.returncode == 1
    assert message in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_port_in_use_is_one_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for variable, value in (
            ("PDA_RECEIVE_LISTEN", f"tcp://127.0.0.1:{port}"),
            ("PDA_HTTP_BIND", f"127.0.0.1:{port}"),
        ):
            done = Running(tmp_path, **{variable: value}).pda("serve")
            assert done.returncode == 1
            assert b"cannot be listened at" in done.stderr
            assert b"Traceback" not in done.stderr


def test_senders_do_not_take_every_descriptor(tmp_path: Path) -> None:
    """More connections than a shell's limit allows files: the service raises it for itself."""
    service = Running(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
        try:
            stack.enter_context(service)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        address = ("127.0.0.1", service.port("tcp"))
        senders = [stack.enter_context(socket.create_connection(address)) for _ in range(300)]
        for number, sock in enumerate(senders):
            sock.sendall(NUMBERED[5 * number + 3] + b"\n")
        eventually(lambda: attempts(service), lambda n: n == 300)
        assert service.get("/agent-status")["status"]["succeeded"]


def test_too_few_descriptors_are_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # it ends soon after
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            ["bash", "-c", 'ulimit -n 300; exec "$@"', "-", *PDA, "serve"],
            env=Running(tmp_path, PDA_HTTP_BIND=bind).environment,
            capture_output=True,
            check=False,
        )
    assert b"may open 300 files, max_connections asks for 1256" in done.stderr


def test_every_setting_of_a_listener_reaches_it() -> None:
    settings = config.ListenerSettings("udp://[::]:7", "Asia/Tokyo", "mx7", ("192.0.2.0/24",), 3)
    networks = (ip_network("192.0.2.0/24"),)
    assert listener_of(settings) == Listener("udp", "::", 7, "Asia/Tokyo", "mx7", networks, 3)
    local = config.ListenerSettings("tcp://localhost:7")
    assert listener_of(local) == Listener("tcp", "127.0.0.1", 7)


def test_every_setting_of_http_reaches_the_web() -> None:
    original = config.OriginalApiSettings(allow_actions=True)
    http = config.HttpSettings(
        hosts=("pda.example",), timeout_s=7.5, page_entries=9, original_api=original
    )
    backfill = config.BackfillSettings(directory="/logs")
    assert web_settings(config.Settings(http=http, backfill=backfill)) == WebSettings(
        allow_actions=True,
        request_timeout=7.5,
        page=Bounds(entries=9),
        allowed_hosts=("pda.example",),
        log_file=Path("/logs/mail.log"),
    )


def test_a_restart_is_asked_of_the_supervisor_by_the_exit_status(tmp_path: Path) -> None:
    with Running(tmp_path, PDA_HTTP_ORIGINAL_API_ALLOW_ACTIONS="yes") as service:
        service.send(NUMBERED)
        assert service.result("/agent-restart") == "restarting"
        assert service.process is not None
        assert service.process.wait(30) == RESTART == 75
        assert attempts(service) == 2000
        service.start()
        assert service.result("/agent-shutdown") == "shutting down"
        assert service.process.wait(30) == 0


def test_answers_do_not_say_what_serves_them(tmp_path: Path) -> None:
    with (
        Running(tmp_path) as service,
        urllib.request.urlopen(service.status()["http"][0] + "/healthz", timeout=30) as answer,
    ):
        assert answer.headers["Server"] is None
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_zone_and_mail_host_of_a_listener(tmp_path: Path) -> None:
    settings = tmp_path / "pda.toml"
    settings.write_text(
        '[[receive.listener]]\nlisten = "udp://[::1]:0"\nzone = "Asia/Tokyo"\nhostname = "mx7"\n'
    )
    with (
        Running(
            tmp_path, PDA_CONFIG=str(settings), PDA_RECEIVE_LISTEN="tcp://127.0.0.1:0"
        ) as service,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock,
    ):
        record = attempt(at="Mar 10 10:00:01").replace(b" mx1 ", b" ")
        sock.sendto(record, ("::1", service.port("udp")))
        (row,) = eventually(service.attempts, bool)
        assert row.host == "mx7"
        assert rfc3339(row.at).endswith("-03-10T01:00:01Z")


def test_users_are_added_while_it_runs(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        service.get("/agent-status")
        done = service.pda(
            "user", "add", "alice", "--role", "admin", "--password-stdin", stdin=b"secret\n"
        )
        assert done.returncode == 0, done.stderr
        url = service.status()["http"][0] + "/agent-status"
        eventually(lambda: _status(url), lambda status: status == 401)  # users are read anew
        request = urllib.request.Request(url, headers={"Authorization": "Basic YWxpY2U6c2VjcmV0"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["status"]["succeeded"]
        assert b"secret" not in service.log.read_bytes()


async def test_a_user_is_not_added_while_the_disk_refuses(tmp_path: Path) -> None:
    """And whoever wanted to is told so at once."""
    ours, theirs = trio.socket.socketpair()
    answer = Caller(ours)
    order = MakeEdit(PutUser("alice", "hash", "reader"))
    store = config.StoreSettings(path=str(tmp_path / "pda.db"))
    with open_rooms(config.Settings(store=store)) as rooms:
        service, state = Service(rooms), rooms.ingest.writer_state
        state.refused = "disk is full"
        await service._order(order, [], answer)
        state.refused = ""
        rooms.writer._connection.execute("PRAGMA query_only = ON")
        await service._order(order, [], answer)
        rooms.writer._connection.execute("PRAGMA query_only = OFF")
        assert accounts.users(rooms.writer._connection) == []
        await service._order(order, [], answer)
        assert [user.name for user in accounts.users(rooms.writer._connection)] == ["alice"]
    replies = [
        msgspec.json.decode(line, type=Reply) for line in (await theirs.recv(65536)).splitlines()
    ]
    ours.close()
    theirs.close()
    assert all(reply.final for reply in replies)
    why = "the database cannot be written: {}; nothing was changed"
    assert [reply.error for reply in replies] == [
        why.format("disk is full"),
        why.format("attempt to write a readonly database"),
        "",
    ]


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_log_says_that_there_is_no_user(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        assert b"there is no user: HTTP serves this machine only" in service.log.read_bytes()


def test_asking_makes_nothing(tmp_path: Path) -> None:
    done = Running(tmp_path).pda("query", "attempts")
    assert done.returncode == 1
    assert b"there is no database" in done.stderr
    assert not list(tmp_path.iterdir())


def test_addresses_stay_out_of_the_log(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        service.send(message(deliveries=[attempt()]))
        eventually(lambda: attempts(service), bool)
        service.stop()
        assert b"@" not in service.log.read_bytes()


# --- The original's real log -------------------------------------------------------------------

REAL = SHARED / "original" / "real-mail.log.2.gz"
TRUTH = {"sent": 7841, "deferred": 8019, "bounced": 1225}


def counted(service: Running) -> tuple[dict[str, int], int]:
    statuses = Counter(row.status for row in service.attempts())
    outcomes = service.outcomes()
    return dict(statuses), sum(row.state == "expired" for row in outcomes)


@needs_shared
def test_the_real_log_through_both_ways_and_twice(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        service.send(unpacked(REAL))
        total = sum(TRUTH.values())
        eventually(lambda: attempts(service), lambda n: n == total, 60)
        eventually(lambda: counted(service), lambda found: found == (TRUTH, 11))
        changes = [row.change for row in service.outcomes()]
        done = service.pda("backfill", str(REAL))
        assert done.returncode == 0, done.stderr
        service.send(unpacked(REAL))
        service.stop()
        assert counted(service) == (TRUTH, 11)
        assert [row.change for row in service.outcomes()] == changes


@needs_shared
def test_the_real_log_by_backfill_twice_without_a_service(tmp_path: Path) -> None:
    service = Running(tmp_path)
    for _ in range(2):
        done = service.pda("backfill", str(REAL))
        assert done.returncode == 0, done.stderr
        assert counted(service) == (TRUTH, 11)


@needs_shared
def test_at_most_a_twentieth_of_the_real_failures_is_undetermined(tmp_path: Path) -> None:
    service = Running(tmp_path)
    assert service.pda("backfill", str(REAL)).returncode == 0
    failed = [row for row in service.attempts() if row.status != "sent"]
    undetermined = [row for row in failed if row.category == "undetermined"]
    assert len(undetermined) <= 0.05 * len(failed)
