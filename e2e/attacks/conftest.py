"""Fixtures of the attacks: brokers with a configuration of one's own, and connections over each door."""

import itertools
from collections.abc import Callable, Iterator

import mqtt
import pytest
import websocket
from broker import Broker
from tls import Certificates

from attacks.measure import assert_unhurt

DOORS = ("tcp", "websocket", "tls", "websocket-tls")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Certificates:
    """Those of all brokers of one process."""
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def launch(tmp_path, certificates) -> Iterator[Callable[..., Broker]]:
    """Starts brokers with two event loops and all doors, each with a configuration file of this text.

    At the end each must still run, without a panic.
    """
    brokers: list[Broker] = []

    def start(configuration: str = "", *arguments: str, sys_secs: int = 0) -> Broker:
        folder = tmp_path / f"broker{len(brokers)}"
        folder.mkdir()
        file = folder / "bellbird.toml"
        file.write_text(configuration)
        one = Broker(folder / "data", shards=2).offer_websocket().offer_tls(certificates)
        one.arguments = [f"--config={file}", f"--sys-interval={sys_secs}", *arguments]
        brokers.append(one)
        one.start()
        return one

    yield start
    try:
        for one in brokers:
            if one.process is not None:
                assert_unhurt(one)
    finally:
        for one in brokers:
            one.kill()
            print(one.log())


@pytest.fixture
def dial(certificates) -> Iterator[Callable[..., mqtt.Client]]:
    """Opens connections to a broker through one of its doors, without CONNECT, and closes them at the end."""
    opened: list[mqtt.Client] = []

    def open_one(broker: Broker, level: int = 5, door: str = "tcp") -> mqtt.Client:
        stream = open_stream(broker, door, certificates)
        opened.append(mqtt.Client.over(stream, level))
        return opened[-1]

    yield open_one
    for client in opened:
        client.close()


def open_stream(broker: Broker, door: str, certificates: Certificates):
    """A stream of MQTT, over what this door puts around it."""
    if door == "tcp":
        return mqtt.Client(broker.address).socket
    if door == "tls":
        return certificates.seal(mqtt.Client(broker.tls_address).socket)
    if door == "websocket":
        return websocket.connect(broker.websocket_address)
    return websocket.connect(broker.websocket_tls_address, certificates.seal)


@pytest.fixture
def client(dial) -> Callable[..., mqtt.Client]:
    """Opens a connection and sends CONNECT, under a name of its own unless one is given."""
    numbers = itertools.count(1)

    def open_one(broker: Broker, client_id: str | None = None, level: int = 5, door: str = "tcp", **options):
        one = dial(broker, level, door)
        one.connect(f"c{next(numbers)}" if client_id is None else client_id, **options)
        return one

    return open_one


@pytest.fixture(params=[4, 5], ids="level={}".format)
def level(request) -> int:
    """The protocol level: 4 for MQTT 3.1.1, 5 for MQTT 5.0."""
    return request.param
