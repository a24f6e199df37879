"""Packets with as much in them as fits: properties, filters, aliases (class 11).

CVE-2021-41039 (Mosquitto: a CONNECT of 5.0 with thousands of user properties kept the broker busy, since
each was looked for among all before it).
"""

import packets
import pytest
from packets import Kind, Property, varint

from attacks.measure import MIB, allocated_bytes, resident_bytes

pytestmark = pytest.mark.bellbird

QUICK = 'durability = "memory"\n'
MANY = 60_000
QUOTA_EXCEEDED, TOO_LARGE = 0x97, 0x95


def user_properties(count: int) -> list[tuple[str, str]]:
    """Some of them alike, as the standard allows."""
    return [(f"k{number % 100}", f"{number}") for number in range(count)]


@pytest.mark.parametrize("qos", [0, 1])
def test_many_user_properties_arrive_in_order(launch, client, qos):
    """Sixty thousand in one PUBLISH, four times: all arrive as they were, and nothing stays."""
    broker = launch(QUICK)
    one, other = client(broker), client(broker)
    one.subscribe(("t", qos))
    given = user_properties(MANY)
    before, resident = allocated_bytes(broker), resident_bytes(broker)
    for number in range(4):
        other.publish("t", b"%d" % number, qos=qos, props={Property.USER_PROPERTY: given})
        message = one.expect_message(b"%d" % number)
        assert message.properties[Property.USER_PROPERTY] == given
    other.ping()
    assert resident_bytes(broker) - resident < 16 * MIB
    # The largest buffers of two connections, at most.
    assert allocated_bytes(broker) - before < 3 * MIB


def test_many_user_properties_for_whoever_takes_little(launch, client):
    """A client that takes small packets gets none of that, and goes on."""
    broker = launch(QUICK)
    one, other = client(broker, props={0x27: 1000}), client(broker)
    one.subscribe(("t", 1))
    for _ in range(3):
        other.publish("t", b"large", props={Property.USER_PROPERTY: user_properties(MANY)})
    other.publish("t", b"small")
    one.expect_message(b"small")


def test_many_user_properties_before_connect(launch, client, dial):
    """As many as 100 kB hold are taken, and with more it is too large; either way nothing is kept."""
    broker = launch()
    client(broker)
    before = allocated_bytes(broker)
    for count, accepted in ((9_000, True), (20_000, False)):
        for number in range(20):
            one = dial(broker)
            props = {Property.USER_PROPERTY: [("key", f"{item % 100}") for item in range(count)]}
            one.send(packets.connect(f"c{number}", 5, props=props))
            if accepted:
                assert one.expect(Kind.CONNACK).code == 0
                one.disconnect()
            else:
                ending = one.expect_closed()
                assert ending is None or ending.code == TOO_LARGE
    assert allocated_bytes(broker) - before < MIB


ACKS = {Kind.PUBACK: 0, Kind.PUBREC: 0, Kind.PUBREL: 2, Kind.PUBCOMP: 0}


@pytest.mark.parametrize("kind", ACKS)
def test_many_user_properties_in_acknowledgements(launch, client, kind):
    """For an identifier that nobody uses; what is answered at all is as short as ever."""
    broker = launch()
    one = client(broker)
    section = packets.properties({Property.USER_PROPERTY: user_properties(MANY)})
    before = resident_bytes(broker)
    for _ in range(5):
        one.send(packets.frame(kind, ACKS[kind], b"\0\7\0" + section))
    one.send(packets.pingreq())
    while (answer := one.receive()).kind != Kind.PINGRESP:
        assert answer.kind in (Kind.PUBREL, Kind.PUBCOMP)
    assert resident_bytes(broker) - before < 8 * MIB


def test_subscriptions_stop_at_the_limit(launch, client, level):
    """Of five thousand filters in one packet as many are granted as the limit says, one by one."""
    broker = launch("[limits]\nsubscriptions_max = 1000\n")
    one, other = client(broker, level=level), client(broker)
    refused = QUOTA_EXCEEDED if level == 5 else 0x80
    codes = one.subscribe(*((f"f/{number}", 0) for number in range(5000))).codes
    assert codes == (0,) * 1000 + (refused,) * 4000
    # Those that are there can be changed, and one that goes makes room for another.
    assert one.subscribe(("f/0", 1), ("f/5001", 1)).codes == (1, refused)
    one.unsubscribe("f/0")
    assert one.subscribe(("f/5001", 1)).codes == (1,)
    other.publish("f/999", b"granted")
    one.expect_message(b"granted")
    assert other.subscribe(("f/0", 0)).codes == (0,)


def test_one_filter_a_hundred_thousand_times(launch, client, level):
    """Each gets its code; it is one subscription, and a message comes once."""
    broker, count = launch(QUICK), 100_000
    one, other = client(broker, level=level), client(broker)
    before = allocated_bytes(broker)
    assert one.subscribe(*[("t", 0)] * count).codes == (0,) * count
    assert broker.metrics()["bellbird_subscriptions"] == 1
    other.publish("t", b"once")
    one.expect_message(b"once")
    one.ping()
    answer = one.unsubscribe(*["t"] * count)
    assert answer.codes == ((0, *(0x11,) * (count - 1)) if level == 5 else ())
    assert broker.metrics()["bellbird_subscriptions"] == 0
    assert allocated_bytes(broker) - before < 2 * MIB


def test_aliases_are_bound_again_and_again(launch, client):
    """Sixteen aliases of long topics, each bound two hundred times: what is kept is the last of each."""
    broker = launch(QUICK)
    one = client(broker)
    topics = [f"{number:04}" + "x" * 60_000 for number in range(16)]
    before = allocated_bytes(broker)
    for attempt in range(200):
        for alias, topic in enumerate(topics, 1):
            one.send_publish(topics[(alias + attempt) % 16] if attempt % 2 else topic, b"", qos=0,
                             props={Property.TOPIC_ALIAS: alias})
    one.ping()
    assert allocated_bytes(broker) - before < 16 * 65_535 + 2 * MIB
    one.disconnect()
    witness = client(broker)
    witness.ping()
    assert allocated_bytes(broker) - before < 2 * MIB


def test_a_subscription_id_of_each_size(launch, client):
    """The largest ones are numbers like others, also when many subscriptions match."""
    broker = launch(QUICK)
    one, other = client(broker), client(broker)
    patterns = ["/".join("+" if bit >> at & 1 else "a" for at in range(8)) for bit in range(256)]
    for number, pattern in enumerate(patterns):
        props = {Property.SUBSCRIPTION_ID: 268_435_455 - number}
        assert one.subscribe((pattern, 0), props=props).codes == (0,)
    other.publish("/".join(["a"] * 8), b"x")
    ids = one.expect_message(b"x").properties[Property.SUBSCRIPTION_ID]
    one.ping()
    assert sorted(ids) == [268_435_455 - number for number in reversed(range(256))]
    assert len(varint(ids[0])) == 4
