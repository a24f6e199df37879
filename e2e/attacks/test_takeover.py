"""Taking over client identifiers, over and over (class 5).

CVE-2026-22040 (NanoMQ: a client that came back while its old connection was being closed used memory that
was free by then).
"""

import contextlib

import packets
import pytest
from mqtt import Client, Closed
from packets import Kind, Will

from attacks.measure import allocated_bytes, closed, descriptors, eventually, expect_descriptors, resident_bytes

pytestmark = pytest.mark.bellbird

ROUNDS = 1000
WARM = 100
CONNECTED = 'bellbird_sessions{state="connected"}'
TAKEN_OVER = 0x8E
QUICK = 'durability = "memory"\n'


def introduction(level: int, clean: bool) -> bytes:
    """CONNECT of the identifier that everybody wants, with a will and a subscription behind it."""
    props = {0x11: 0 if clean else 3600} if level == 5 else None
    will = Will("will/of/wanted", b"x" * 100)
    hello = packets.connect("wanted", level, clean=clean, props=props, will=will)
    return hello + packets.subscribe(1, [("to/wanted/#", 1)], level)


@pytest.mark.parametrize("clean", [True, False], ids=["clean", "kept"])
def test_a_loop_leaves_nothing_behind(launch, client, dial, level, clean):
    """A thousand takeovers: the one before is told and ends, and memory and descriptors are as before."""
    broker = launch(QUICK)
    witness = client(broker)
    before, open_before = 0.0, descriptors(broker)
    previous = None
    for number in range(ROUNDS):
        one = dial(broker, level)
        one.send(introduction(level, clean))
        assert one.expect(Kind.CONNACK).code == 0
        one.expect(Kind.SUBACK)
        if previous:
            ending = previous.expect_closed()
            assert ending.code == TAKEN_OVER if level == 5 else ending is None
            previous.close()
        previous = one
        if number == WARM:
            before, resident = allocated_bytes(broker), resident_bytes(broker)
    assert closed(broker, "taken_over") == ROUNDS - 1
    assert broker.metrics()[CONNECTED] == 2
    expect_descriptors(broker, open_before + 1)
    # Connections that have just ended are listened to for a moment; a session would be more for each.
    assert allocated_bytes(broker) - before < 512 * ROUNDS
    assert resident_bytes(broker) - resident < 2 << 20
    witness.publish("to/wanted/still", b"there")
    assert previous.expect_message().payload == b"there"
    previous.ping()


def test_all_at_once_and_one_remains(launch, dial, level):
    """Two hundred say the same name together: one has it in the end, and the others are gone."""
    broker, count = launch(QUICK), 200
    crowd = [dial(broker, level) for _ in range(count)]
    for one in crowd:
        one.send(introduction(level, clean=True) + packets.pingreq())
    eventually(broker, "all but one have ended", lambda: closed(broker, "taken_over") == count - 1)
    assert broker.metrics()[CONNECTED] == 1
    survivors = [one for one in crowd if is_alive(one)]
    assert len(survivors) == 1


def is_alive(one: Client) -> bool:
    """Whether the connection still answers, behind whatever it was sent before."""
    with contextlib.suppress(Closed):
        one.send(packets.publish("to/wanted/me", b"?", one.level))
        while (packet := one.receive()).kind != Kind.DISCONNECT:
            if packet.kind == Kind.PUBLISH and packet.topic == "to/wanted/me":
                return True
    return False


def test_taken_over_within_a_packet(launch, client, level):
    """What the old connection had begun to say is nobody's."""
    broker = launch()
    witness = client(broker)
    witness.subscribe(("t", 0))
    packet = packets.publish("t", b"half" * 100, level)
    for cut in range(1, len(packet), 7):
        old = client(broker, "wanted", level)
        old.send(packet[:cut])
        new = client(broker, "wanted", level)
        new.ping()
        new.close()
        old.close()
    client(broker).publish("t", b"whole")
    assert witness.expect_message().payload == b"whole"
