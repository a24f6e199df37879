"""Deep topics and exploding wildcards (classes 1 and 2).

CVE-2019-11779 (Mosquitto: a topic of 65,400 slashes overflowed the stack of a recursive matcher) and
CVE-2021-33176 (VerneMQ: memory for each level of whatever topic came). The second class was found by
fuzzing the topic tree of uWebSockets: `+` in many levels visits two to their power of nodes.
"""

import itertools

import packets
import pytest
from mqtt import Client, Closed
from packets import Kind, Will

from attacks.measure import MIB, allocated_bytes, resident_bytes, stack_bytes

pytestmark = pytest.mark.bellbird

LEVELS_MAX, PLUS_MAX = 128, 10
"""The defaults of docs/configuration.md."""
SLASHES = "/" * 65_535
BAD_FILTER, BAD_TOPIC = 0x8F, 0x90
TRIES = 50
GROWTH_BYTES = 4 * MIB


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_topic_of_slashes_goes_nowhere(launch, client, level, qos):
    """5.0 has a word for it; 3.1.1 either takes it and drops it, or ends the connection."""
    broker = launch()
    witness = client(broker)
    witness.subscribe(("#", 2))
    before, stack = resident_bytes(broker), stack_bytes(broker)
    for _ in range(TRIES):
        one = client(broker, level=level)
        one.send_publish(SLASHES, b"deep", qos=qos)
        one.send(packets.pingreq())
        assert answer_to_publish(one, level) in ({BAD_TOPIC, 0x87} if level == 5 and qos else {None, BAD_TOPIC, 0})
        one.close()
    client(broker).publish("shallow", b"next")
    assert witness.expect(Kind.PUBLISH).topic == "shallow"
    assert resident_bytes(broker) - before < GROWTH_BYTES
    assert stack_bytes(broker) == stack


def answer_to_publish(one: Client, level: int) -> int | None:
    """The reason in the acknowledgement or in DISCONNECT; None if neither comes."""
    try:
        answer = one.receive()
    except Closed:
        assert level == 4, "closed without the word that 5.0 has"
        return None
    return None if answer.kind == Kind.PINGRESP else answer.code


@pytest.mark.parametrize("prefix", ["", "$share/group/", "$exclusive/", "+/"], ids=repr)
def test_a_filter_of_slashes_is_refused(launch, client, level, prefix):
    """SUBSCRIBE is refused, and UNSUBSCRIBE of it takes nothing away and breaks nothing."""
    broker, pattern = launch(), (prefix + SLASHES)[:65_535]
    before, stack = resident_bytes(broker), stack_bytes(broker)
    for _ in range(TRIES):
        one = client(broker, level=level)
        one.send(packets.subscribe(1, [(pattern, 0)], level))
        try:
            answer = one.receive()
            assert answer.kind in (Kind.SUBACK, Kind.DISCONNECT), answer
            code = answer.code or answer.codes[0]
            assert code in ({BAD_FILTER, BAD_TOPIC} if level == 5 else {0x80}), answer
        except Closed:
            assert level == 4, "closed without the word that 5.0 has"
        one.close()
        other = client(broker, level=level)
        other.send(packets.unsubscribe(1, [pattern], level))
        try:
            assert other.receive().kind in (Kind.UNSUBACK, Kind.DISCONNECT)
        except Closed:
            assert level == 4, "closed without the word that 5.0 has"
        other.close()
    assert resident_bytes(broker) - before < GROWTH_BYTES
    assert stack_bytes(broker) == stack


def test_a_will_to_slashes_is_heard_by_nobody(launch, client, dial, level):
    """Refused at CONNECT, or dropped when its time comes."""
    broker = launch()
    witness = client(broker)
    witness.subscribe(("#", 1))
    for number in range(TRIES):
        one = dial(broker, level)
        one.send(packets.connect(f"deep{number}", level, will=Will(SLASHES, b"deep")))
        try:
            one.expect(Kind.CONNACK)
        except Closed:
            assert level == 4, "closed without the word that 5.0 has"
        one.close()
    client(broker).publish("shallow", b"next")
    assert witness.expect(Kind.PUBLISH).topic == "shallow"


def test_levels_are_counted(launch, client):
    """As many as documented, in topics and in filters; one more is refused."""
    broker = launch()
    one = client(broker)
    for count, granted in ((LEVELS_MAX, True), (LEVELS_MAX + 1, False)):
        name = "/".join(["a"] * count)
        for pattern in (name, name[:-1] + "+", name[:-1] + "#"):
            code = one.subscribe((pattern, 1)).codes[0]
            assert (code == 1) == granted, (count, pattern[-3:], code)
    deepest, deeper = "/".join(["a"] * LEVELS_MAX), "/".join(["a"] * (LEVELS_MAX + 1))
    other = client(broker)
    packet_id = other.send_publish(deepest, b"x")
    assert other.expect(Kind.PUBACK, packet_id=packet_id).code == 0
    one.expect_message(b"x")
    assert answer_code(other, deeper) in (BAD_TOPIC, 0x87)
    one.ping()


def answer_code(one: Client, topic: str) -> int:
    """What a PUBLISH of QoS 1 is answered with."""
    one.send_publish(topic, b"x")
    return one.receive().code


def test_wildcards_are_counted(launch, client, level):
    """As many `+` as documented, wherever they stand; one more is refused."""
    broker = launch()
    one = client(broker, level=level)
    for count, granted in ((PLUS_MAX, True), (PLUS_MAX + 1, False)):
        for levels in (["+"] * count, ["+", "a"] * count, ["+"] * count + ["#"]):
            for prefix in ("", "$share/group/"):
                code = one.subscribe((prefix + "/".join(levels), 0)).codes[0]
                assert (code == 0) == granted, (count, prefix, code)


def test_all_shapes_of_wildcards(launch, client):
    """A thousand filters with `+` in ten of twenty levels: each message comes once, and nothing stays."""
    broker = launch()
    one, other = client(broker), client(broker)
    shapes = [
        "/".join("+" if at % 2 and bits[at // 2] else "a" for at in range(20))
        for bits in itertools.product((False, True), repeat=10)
    ]
    before = allocated_bytes(broker)
    assert set(one.subscribe(*((shape, 0) for shape in shapes)).codes) == {0}
    assert allocated_bytes(broker) - before < 4 * MIB
    for number in range(20):
        other.publish("/".join(["a"] * 20), b"%d" % number)
        other.publish("/".join(["a", f"{number}"] * 10), b"%d" % number)
    messages = [one.expect(Kind.PUBLISH) for _ in range(40)]
    one.ping()
    assert [int(message.payload) for message in messages] == [number // 2 for number in range(40)]
    one.unsubscribe(*shapes)
    assert allocated_bytes(broker) - before < MIB
