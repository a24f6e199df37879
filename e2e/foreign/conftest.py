"""Fixtures: one broker that all these tests share, names of their own, and clients that are closed."""

import itertools
from collections.abc import Callable, Iterator

import pytest
from broker import KIND_UNDER_TEST, KINDS, Broker
from tls import Certificates

from foreign.shape import Client, Kind

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Certificates:
    """Those of all brokers of one process."""
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory, certificates) -> Iterator[Broker]:
    """The broker that all tests share, with its settings at their defaults."""
    broker = KINDS[KIND_UNDER_TEST](tmp_path_factory.mktemp("broker") / "data", shards=2)
    with broker.offer_unix().offer_websocket().offer_tls(certificates):
        yield broker
        print(broker.log())


@pytest.fixture
def own_broker(tmp_path, certificates) -> Iterator[Broker]:
    """A broker for one test, which may end it and start it again."""
    broker = KINDS[KIND_UNDER_TEST](tmp_path / "data", shards=2)
    with broker.offer_unix().offer_websocket().offer_tls(certificates):
        yield broker
        print(broker.log())


@pytest.fixture
def unique() -> Callable[..., str]:
    """Makes names that no other test uses, short enough for the client ids of MQTT 3.1."""
    return lambda stem="n": f"{stem}{next(NUMBERS)}"


@pytest.fixture
def connect(request, unique) -> Iterator[Callable[..., Client]]:
    """Connects clients of a kind, to the shared broker if not told otherwise."""
    clients: list[Client] = []

    def one(kind: Kind, client_id: str = "", *, to: Broker | None = None, **options) -> Client:
        broker = to or request.getfixturevalue("broker")
        clients.append(kind.connect(broker, client_id or unique("c"), **options))
        return clients[-1]

    yield one
    for client in clients:
        client.release()
    for client in clients:
        client.close()
