"""Section 3.3.2.3.4: topic aliases, from clients and toward them."""

import pytest
import wire
from publishing import SAID, TOPIC_ALIAS_INVALID, durable
from registry import statement
from wire import PROTOCOL_ERROR, Kind, Property


def aliased(topic: str, alias: int, payload: bytes = b"") -> bytes:
    """PUBLISH at QoS 0 with a topic alias."""
    return wire.publish(topic, payload, 5, props=[(Property.TOPIC_ALIAS, alias)])


def maximum_of(connack: wire.Packet) -> int:
    """The broker's Topic Alias Maximum; one that takes no aliases has nothing to show here."""
    maximum = (connack.values(0x22) or [0])[0]
    return maximum or pytest.skip("no topic aliases")


@statement("MQTT-3.3.2-7", "H-24", wrong=[*SAID, "alias-survives"])
def test_aliases_end_with_the_connection(dial, unique):
    """The next connection of the same session begins without aliases."""
    name, topic, first, again = unique("c"), unique("t"), dial(), dial()
    maximum_of(first.connect(name, **durable(5)))
    first.send(aliased(topic, 1) + aliased("", 1))
    first.ping()
    first.leave()
    again.connect(name, **durable(5))
    again.send(aliased("", 1))
    again.expect_refused(PROTOCOL_ERROR)


@statement("MQTT-3.3.2-7", wrong=[*SAID, "alias-survives"])
def test_aliases_belong_to_a_connection(dial, client, unique):
    """An alias of one connection says nothing on another."""
    first, other = dial(), client()
    maximum_of(first.connect(unique("c")))
    first.send(aliased(unique("t"), 1))
    first.ping()
    other.send(aliased("", 1))
    other.expect_refused(PROTOCOL_ERROR)


@statement("MQTT-3.3.2-8", "H-24", wrong=SAID)
@pytest.mark.parametrize("topic", ["t", ""])
def test_alias_0(client, topic):
    """There is no alias 0."""
    offender = client()
    offender.send(aliased(topic, 0))
    offender.expect_refused(TOPIC_ALIAS_INVALID)


@statement("MQTT-3.3.2-9", "H-24", wrong=SAID)
@pytest.mark.parametrize("above", [1, None], ids=["one above", "65535"])
def test_an_alias_above_the_maximum(dial, unique, above):
    """An alias above the Topic Alias Maximum of the CONNACK ends the connection."""
    offender = dial()
    maximum = (offender.connect(unique("c")).values(0x22) or [0])[0]
    offender.send(aliased(unique("t"), maximum + above if above else 65535))
    offender.expect_refused(TOPIC_ALIAS_INVALID)


@statement("MQTT-3.3.2-12", wrong=["aliases-merged", "eager-close"])
def test_all_aliases_up_to_the_maximum(dial, unique):
    """The broker knows as many aliases as it says, each with its own topic."""
    one, root = dial(), unique("t")
    maximum = maximum_of(one.connect(unique("c")))
    one.subscribe((f"{root}/#", 0))
    for alias in range(1, maximum + 1):
        one.send(aliased(f"{root}/{alias}", alias))
        assert one.expect(Kind.PUBLISH).topic == f"{root}/{alias}"
    for alias in range(maximum, 0, -1):
        one.send(aliased("", alias, b"short"))
        message = one.expect(Kind.PUBLISH)
        assert (message.topic, message.payload) == (f"{root}/{alias}", b"short")


@statement("U5-29", "H-24", wrong=SAID)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_alias_without_topic(dial, unique, qos):
    """An alias that stands for nothing yet needs a topic beside it."""
    offender = dial()
    maximum = maximum_of(offender.connect(unique("c")))
    props = [(Property.TOPIC_ALIAS, maximum)]
    offender.send(wire.publish("", b"", 5, qos=qos, packet_id=1, props=props))
    offender.expect_refused(PROTOCOL_ERROR)


@statement("U5-27", wrong=SAID)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_neither_topic_nor_alias(client, qos):
    """A PUBLISH names its topic in one way or the other."""
    offender = client()
    offender.send(wire.publish("", b"", 5, qos=qos, packet_id=1))
    offender.expect_refused(PROTOCOL_ERROR)


@statement("U5-30", wrong="alias-first-binding")
def test_an_alias_is_bound_again(dial, unique):
    """A topic beside a known alias is what the alias stands for from then on."""
    one, root = dial(), unique("t")
    maximum_of(one.connect(unique("c")))
    one.subscribe((f"{root}/#", 0))
    one.send(aliased(f"{root}/old", 1) + aliased(f"{root}/new", 1) + aliased("", 1))
    topics = [one.expect(Kind.PUBLISH).topic for _ in range(3)]
    assert topics == [f"{root}/old", f"{root}/new", f"{root}/new"]


@statement("MQTT-3.1.2-26", "MQTT-3.3.2-8", "MQTT-3.3.2-11", "H-25", wrong=["alias-too-high", "alias-zero"])
def test_aliases_toward_a_client(client, unique):
    """Aliases of the broker, if it uses any, are between 1 and the client's maximum, and always clear."""
    one, root = client(props=[(0x22, 2)]), unique("t")
    one.subscribe((f"{root}/#", 0))
    topics = [f"{root}/{number}" for number in (1, 1, 2, 2, 3, 3, 1, 2, 3, 4, 4)]
    known: dict[int, str] = {}
    for topic in topics:
        one.send_publish(topic, b"", qos=0)
        message = one.expect(Kind.PUBLISH)
        for alias in message.values(Property.TOPIC_ALIAS):
            assert 1 <= alias <= 2
            known[alias] = message.topic or known[alias]
            message = wire.replace(message, topic=known[alias])
        assert message.topic == topic
