"""Fixtures: a fresh broker for each test, and connections that are closed after it.

BROKER=mosquitto runs the suite against mosquitto, to check the tests rather than the broker.
"""

from collections.abc import Callable, Iterator

import pytest
from broker import KIND_UNDER_TEST as KIND
from broker import KINDS, Broker, shown
from mqtt import Client


def pytest_configure(config) -> None:
    """Declares the marker for tests of what is Bellbird's own."""
    config.addinivalue_line("markers", "bellbird: behaviour that mosquitto does not share")


def pytest_generate_tests(metafunc) -> None:
    """Runs each test that uses a broker with one and with two shards."""
    if "shards" in metafunc.fixturenames:
        metafunc.parametrize("shards", [1, 2] if KIND == "bellbird" else [1], ids="shards={}".format)


def pytest_collection_modifyitems(items) -> None:
    """Skips what the broker under test does not promise."""
    for item in items:
        if KIND != "bellbird" and item.get_closest_marker("bellbird"):
            item.add_marker(pytest.mark.skip(reason=f"not promised by {KIND}"))


@pytest.fixture
def broker(tmp_path, shards) -> Iterator[Broker]:
    """A running broker with an empty data directory; its log is shown when the test fails."""
    broker = KINDS[KIND](tmp_path / "data", shards)
    with shown(broker):
        yield broker


@pytest.fixture
def dial(broker) -> Iterator[Callable[..., Client]]:
    """Opens connections to the broker, without CONNECT, and closes them at the end."""
    clients: list[Client] = []

    def open_one(level: int = 4) -> Client:
        clients.append(Client(broker.address, level))
        return clients[-1]

    yield open_one
    for client in clients:
        client.close()


@pytest.fixture
def client(dial) -> Callable[..., Client]:
    """Opens a connection and sends CONNECT; arguments as for Client.connect."""

    def open_one(client_id: str, level: int = 4, **options) -> Client:
        opened = dial(level)
        opened.connect(client_id, **options)
        return opened

    return open_one


@pytest.fixture(params=[4, 5], ids="level={}".format)
def level(request) -> int:
    """The protocol level: 4 for MQTT 3.1.1, 5 for MQTT 5.0."""
    return request.param
