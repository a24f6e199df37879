"""Section 3.3.1.3: retained messages, and what RETAIN says on the way to a subscriber."""


import pytest
import wire
from publishing import found
from registry import statement
from wire import Kind, Property

AS_PUBLISHED = 0x08
IF_NEW, NEVER = 0x10, 0x20
EMPTY_WRONG = ["empty-retain-not-stored", "retain-empty-stored", "publish-dropped"]


def seen(messages: list[wire.Packet]) -> list[tuple[bytes, bool]]:
    """Payloads and RETAIN flags."""
    return [(message.payload, message.retain) for message in messages]


@statement("MQTT-3.3.1-5", wrong=["retain-first-stays", "retain-not-stored"])
@statement("MQTT311-3.3.1-5", "MQTT311-3.3.1-6", wrong=["retain-first-stays", "retain-not-stored"])
@pytest.mark.parametrize("qos", [1, 2])
def test_the_last_retained_message(client, unique, level, qos):
    """A topic has one retained message, the last one, whatever QoS it and the one before it have."""
    one, late, topic = client(), client(), unique("t")
    one.publish(topic, b"first", qos=3 - qos, retain=True)
    one.publish(topic, b"last", qos=qos, retain=True)
    assert seen(found(late, topic, 2, count=1)) == [(b"last", True)]


@statement("MQTT311-3.3.1-5", wrong=["publish-qos-lowered", "retain-not-stored"])
@statement("MQTT-3.3.1-9", wrong=["publish-qos-lowered", "retain-not-stored"])
@pytest.mark.parametrize(("published", "granted"), [(1, 1), (2, 2), (2, 1), (1, 2)])
def test_the_qos_of_a_retained_message(client, unique, level, published, granted):
    """A retained message comes with its own QoS, or that of the subscription if it is lower."""
    one, late, topic = client(), client(), unique("t")
    one.publish(topic, b"kept", qos=published, retain=True)
    late.subscribe((topic, granted))
    assert late.expect(Kind.PUBLISH).qos == min(published, granted)


@statement("MQTT311-3.3.1-6", wrong=["retain-first-stays", "retain-not-stored", "publish-topic-changed"])
@statement("MQTT-3.3.1-9", wrong=["retain-not-stored", "publish-topic-changed"])
@pytest.mark.parametrize("behind", ["#", "+"])
def test_retained_messages_of_several_topics(client, unique, level, behind):
    """A filter with wildcards finds the last retained message of each topic that it matches."""
    one, late, root = client(), client(), unique("t")
    for number in range(4):
        one.publish(f"{root}/{number % 3}", b"%d" % number, retain=True)
    one.publish(f"{root}x/0", b"elsewhere", retain=True)
    messages = found(late, f"{root}/{behind}", count=3)
    topics = sorted((message.topic, message.payload) for message in messages)
    assert topics == [(f"{root}/0", b"3"), (f"{root}/1", b"1"), (f"{root}/2", b"2")]


@statement("MQTT311-3.3.1-7", wrong="retain-first-stays")
@statement("MQTT-3.3.1-5", wrong="retain-first-stays")
def test_qos_0_replaces_what_was_retained(client, unique, level):
    """After a retained message of QoS 0 the one before it is gone, even if the new one is not kept."""
    one, late, topic = client(), client(), unique("t")
    one.publish(topic, b"first", qos=1, retain=True)
    one.publish(topic, b"last", qos=0, retain=True)
    assert seen(found(late, topic)) in ([(b"last", True)], [])


@statement("U5-24", "MQTT311-3.3.1-7", wrong=["retain-not-stored", "retain-first-stays"])
@statement("U5-24", "MQTT-3.3.1-5", wrong=["retain-not-stored", "retain-first-stays"])
def test_qos_0_is_retained(client, unique, level):
    """A retained message of QoS 0 should be kept like all others."""
    one, late, topic = client(), client(), unique("t")
    one.publish(topic, b"first", qos=0, retain=True)
    one.publish(topic, b"last", qos=0, retain=True)
    assert seen(found(late, topic, count=1)) == [(b"last", True)]


@statement("MQTT311-3.3.1-8", wrong="publish-retain-flipped")
@statement("MQTT-3.3.1-9", "U5-25", wrong=["publish-retain-flipped", "retain-handling-2"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retain_of_what_was_kept(client, unique, level, qos):
    """What is sent because of a new subscription has RETAIN set."""
    one, late, topic = client(), client(), unique("t")
    one.publish(topic, b"kept", qos=qos, retain=True)
    late.subscribe((topic, qos))
    assert late.expect(Kind.PUBLISH).retain


@statement("MQTT311-3.3.1-9", wrong="publish-retain-flipped")
@statement("MQTT-3.3.1-12", "H-32", wrong="publish-retain-flipped")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_retain_of_what_is_live(client, unique, level, qos, retain):
    """What is sent because of an established subscription has RETAIN clear, however it was published."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, qos))
    other.publish(topic, b"live", qos=qos, retain=retain)
    assert not one.expect(Kind.PUBLISH).retain


@statement("MQTT-3.3.1-13", "H-32", wrong="publish-retain-flipped")
@pytest.mark.parametrize(
    "retain",
    [False, pytest.param(True, marks=statement("MQTT-3.3.1-13", wrong="subscribe-options-ignored"))],
)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retain_as_published(client, unique, qos, retain):
    """With Retain As Published, RETAIN is as the publisher set it."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, qos | AS_PUBLISHED))
    other.publish(topic, b"live", qos=qos, retain=retain)
    assert one.expect(Kind.PUBLISH).retain == retain


@statement("MQTT-3.3.1-6", "MQTT-3.3.1-7", "H-34", wrong=EMPTY_WRONG)
@statement("MQTT311-3.3.1-10", "MQTT311-3.3.1-11", wrong=EMPTY_WRONG)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_empty_retained_message(client, unique, level, qos):
    """An empty payload takes the retained message away, is delivered, and is not kept itself."""
    one, witness, late, topic = client(), client(), client(), unique("t")
    one.publish(topic, b"kept", retain=True)
    witness.subscribe((topic, 0))
    assert witness.expect(Kind.PUBLISH).payload == b"kept"
    one.publish(topic, b"", qos=qos, retain=True)
    message = witness.expect(Kind.PUBLISH)
    assert (message.topic, message.payload, message.retain) == (topic, b"", False)
    assert not found(late, topic, 2)


@statement("MQTT-3.3.1-7", "MQTT311-3.3.1-11", wrong="retain-empty-stored")
def test_an_empty_message_where_nothing_was_retained(client, unique, level):
    """An empty payload is not kept, either, where there was nothing to take away."""
    one, late, topic = client(), client(), unique("t")
    one.publish(topic, b"", retain=True)
    assert not found(late, topic)


@statement("H-34", "MQTT-3.3.1-6", "MQTT311-3.3.1-10", wrong=["empty-retain-not-stored", "retain-not-stored"])
def test_retained_messages_after_a_restart(client, own_broker, unique, level):
    """What was kept is there after a restart, and what was taken away is not."""
    broker, kept, gone = own_broker(), unique("t"), unique("t")
    one = client(to=broker)
    one.publish(kept, b"kept", retain=True)
    one.publish(gone, b"gone", retain=True)
    one.publish(gone, b"", retain=True)
    one.leave()
    broker.kill()
    broker.start()
    late = client(to=broker)
    assert seen(found(late, kept, count=1)) == [(b"kept", True)]
    assert not found(late, gone)


@statement("MQTT-3.3.1-8", "MQTT311-3.3.1-12", wrong=["retain-always-stored", "retain-not-stored"])
@pytest.mark.parametrize("payload", [b"live", b""])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_that_is_not_retained(client, unique, level, qos, payload):
    """Without RETAIN a message is not kept, and what is kept stays, also if the payload is empty."""
    one, late, topic, bare = client(), client(), unique("t"), unique("t")
    one.publish(topic, b"kept", retain=True)
    one.publish(topic, payload, qos=qos)
    one.publish(bare, payload, qos=qos)
    assert not found(late, bare)
    assert seen(found(late, topic, count=1)) == [(b"kept", True)]


@statement("MQTT-3.3.1-9", "H-32", wrong=["retain-handling-1", "retain-handling-2"])
def test_retain_handling_0(client, unique):
    """With Retain Handling 0 each SUBSCRIBE is answered with the retained messages."""
    one, topic = client(), unique("t")
    one.publish(topic, b"kept", retain=True)
    for _ in range(3):
        assert seen(found(one, topic, count=1)) == [(b"kept", True)]


@statement("MQTT-3.3.1-10", "H-32", wrong=["retain-handling-0", "retain-handling-2"])
def test_retain_handling_1(client, unique):
    """With Retain Handling 1 only a new subscription is answered with them, and one that was left is new."""
    one, topic = client(), unique("t")
    one.publish(topic, b"kept", retain=True)
    assert seen(found(one, topic, IF_NEW, count=1)) == [(b"kept", True)]
    assert not found(one, topic, IF_NEW)
    assert not found(one, topic, IF_NEW | 1)
    one.unsubscribe(topic)
    assert seen(found(one, topic, IF_NEW, count=1)) == [(b"kept", True)]


@statement("MQTT-3.3.1-11", "H-32", wrong=["retain-handling-0", "retain-handling-1"])
def test_retain_handling_2(client, unique):
    """With Retain Handling 2 no SUBSCRIBE is answered with them, but live messages come."""
    one, topic = client(), unique("t")
    one.publish(topic, b"kept", retain=True)
    assert not found(one, topic, NEVER)
    assert not found(one, topic, NEVER)
    one.send_publish(topic, b"live", qos=0, retain=True)
    assert one.expect(Kind.PUBLISH).payload == b"live"


@statement("U5-25", "H-29", wrong="share-ignored")
def test_no_retained_messages_for_a_group(client, unique):
    """A shared subscription is not answered with retained messages."""
    one, topic = client(), unique("t")
    one.publish(topic, b"kept", retain=True)
    assert not found(one, f"$share/g/{topic}")
    one.send_publish(topic, b"live", qos=0)
    assert one.expect(Kind.PUBLISH).payload == b"live"


@statement("U5-26", wrong=["message-expiry-ignored"])
def test_an_expired_retained_message(client, unique, pass_secs):
    """A retained message is gone when its Message Expiry Interval is over."""
    one, late, topic = client(), client(), unique("t")
    one.publish(topic, b"kept", retain=True, props=[(Property.MESSAGE_EXPIRY, 1)])
    assert seen(found(one, topic, count=1)) == [(b"kept", True)]
    # Expiry is counted in whole seconds.
    pass_secs(1 + 1)
    assert not found(late, topic)


@statement("U5-26", wrong="retain-not-stored")
@pytest.mark.parametrize("clean", [False, True])
def test_retained_messages_are_no_session_state(client, unique, clean):
    """A retained message stays when the session of its publisher ends, and begins."""
    one, late, topic = client(clean=clean), client(), unique("t")
    one.publish(topic, b"kept", retain=True)
    one.leave()
    client(one.client_id, clean=True).ping()
    assert seen(found(late, topic, count=1)) == [(b"kept", True)]
