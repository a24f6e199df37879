"""A mosquitto with its defaults that bridges to the broker: it connects, and messages go both ways."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mqtt
import pytest
from broker import Broker, Mosquitto, shown

pytestmark = pytest.mark.bellbird

STATE = "$SYS/broker/connection/{}/state"
"""Where a bridge says whether it is connected, by its name, also with its will."""


class Bridge(Mosquitto):
    """A mosquitto with a bridge."""

    def __init__(self, directory: Path, to: Broker, name: str, options: tuple[str, ...]):
        super().__init__(directory)
        self.bridge = f"connection {name}\naddress 127.0.0.1:{to.port}\nremote_clientid {name}\n"
        self.bridge += f"topic {name}/# both 1\n" + "".join(f"{option}\n" for option in options)

    def _command(self) -> list[str]:
        command = super()._command()
        with Path(command[-1]).open("a") as settings:
            settings.write(self.bridge)
        return command


@pytest.fixture
def bridged(own_broker, unique, tmp_path) -> Iterator[Callable]:
    """Starts a bridge to the broker; takes lines of its configuration."""

    @contextmanager
    def one(*options: str) -> Iterator[tuple[str, Bridge]]:
        name = unique("bridge")
        bridge = Bridge(tmp_path / name, own_broker, name, options)
        with shown(bridge):
            yield name, bridge

    yield one


@pytest.mark.parametrize("options", [(), ("bridge_protocol_version mqttv50",)], ids=["311", "5"])
def test_bridge_of_defaults(own_broker, bridged, options):
    """It says that it is there, carries messages both ways, and its will says that it is gone."""
    with mqtt.Client(own_broker.address) as here:
        here.connect("watcher")
        here.subscribe((STATE.format("+"), 1))
        with bridged(*options) as (name, bridge), mqtt.Client(bridge.address) as there:
            state = here.expect_message(b"1")
            assert state.topic == STATE.format(name)
            here.subscribe((f"{name}/out", 1))
            there.connect("there")
            there.subscribe((f"{name}/in", 1))
            # The bridge says that it is there before it subscribes: what it carries to here says that it has.
            there.publish(f"{name}/out", b"to here")
            here.expect_message(b"to here")
            here.publish(f"{name}/in", b"to there")
            there.expect_message(b"to there")
            bridge.kill()
            gone = here.expect_message(b"0")
            assert gone.topic == STATE.format(name)
