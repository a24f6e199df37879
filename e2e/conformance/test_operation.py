"""Sections 4.1 to 4.5: session state, the flows of QoS 0, 1 and 2, and what is sent again."""

import pytest
import wire
from operation import NOT_FOUND, durable, release, start_release, table, take
from registry import statement
from wire import Kind, Property

QOS = pytest.mark.parametrize("qos", [1, 2])


@statement("MQTT-4.1.0-1", wrong="forgets-after-a-second")
@statement("MQTT311-4.1.0-2", wrong="forgets-after-a-second")
def test_state_lives_with_its_connection(client, unique, level, pass_secs):
    """A session whose time would be over after a second is kept as long as it is connected."""
    one, other, topic = client(clean=True, props=[(0x11, 1)] if level == 5 else None), client(), unique("t")
    one.subscribe((topic, 1))
    pass_secs(2, one, other)
    other.publish(topic, b"still there")
    take(one, b"still there")


@statement("MQTT-4.1.0-2", wrong="connect-expiry-forever")
def test_state_is_discarded_in_time(client, dial, pass_secs):
    """After the expiry interval there is nothing to resume."""
    first = client(**durable(secs=1))
    first.leave()
    pass_secs(3)
    assert not dial().connect(first.client_id, **durable()).session_present


@statement("MQTT311-4.1.0-1", "U5-45", wrong=["connect-clean-set", "acked-and-lost"])
@statement("MQTT-4.5.0-1", "U5-45", wrong=["connect-clean-set", "acked-and-lost"])
def test_state_of_a_session(client, dial, own_broker, unique, level):
    """Subscriptions, messages unacknowledged and pending, and ids of QoS 2 last, also over a restart."""
    broker, topic = own_broker(), unique("t")
    one, other = client(to=broker, **durable(level)), client(to=broker)
    one.subscribe((topic + "/a", 2), (topic + "/b", 2))
    sent = [one.send_publish(topic, b"", qos=2)]
    one.expect(Kind.PUBREC, packet_id=sent[0])
    other.publish(topic + "/a", b"unacknowledged", qos=1)
    one.expect(Kind.PUBLISH)
    one.close()
    other.publish(topic + "/a", b"pending", qos=1)
    broker.kill()
    broker.start()
    again, other = dial(to=broker), client(to=broker)
    assert again.connect(one.client_id, **durable(level)).session_present
    take(again, b"unacknowledged")
    take(again, b"pending")
    assert release(again, sent[0]).code == 0
    other.publish(topic + "/b", b"subscribed", qos=1)
    take(again, b"subscribed")


@statement("MQTT-4.2-1", wrong=["connack-refused", "publish-order-swapped", "publish-payload-bit-flipped"])
def test_a_transport_of_ordered_bytes(client, unique):
    """What is sent comes whole and in order, both ways."""
    one, topic = client(), unique("t")
    one.subscribe((topic, 0))
    payloads = [b"%d" % number * 1000 for number in range(40)]
    one.send(b"".join(wire.publish(topic, payload, 5) for payload in payloads))
    assert [one.expect(Kind.PUBLISH).payload for _ in payloads] == payloads


@statement("MQTT-4.3.1-1", "MQTT311-4.3.1-1", wrong=["publish-dup-flipped", "publish-qos-0-raised"])
@table({"published at QoS 0": (0, 2), "subscribed at QoS 0": (2, 0)})
def test_qos_0(client, unique, level, case):
    """A message of QoS 0 says QoS 0 and DUP 0."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, case[1]))
    other.publish(topic, b"", qos=case[0])
    message = one.expect(Kind.PUBLISH)
    assert (message.qos, message.dup) == (0, False)


@statement(
    "MQTT-4.3.2-1", "MQTT-4.3.2-2", "MQTT-4.3.3-1", "MQTT-4.3.3-2", wrong=["publish-id-repeated", "publish-dup-flipped"]
)
@statement("MQTT311-4.3.2-1", "MQTT311-4.3.3-1", wrong=["publish-id-repeated", "publish-dup-flipped"])
@QOS
def test_new_messages(client, unique, level, qos):
    """Each new message has an identifier that is not in use, and DUP 0."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, qos))
    in_use: set[int] = set()
    for number in range(12):
        other.publish(topic, b"%d" % number, qos=qos)
        message = one.expect(Kind.PUBLISH)
        assert (message.qos, message.dup) == (qos, False)
        assert message.packet_id not in in_use | {0}
        in_use.add(message.packet_id)
        if number % 3 == 2 and qos == 1:
            one.send(wire.ack(Kind.PUBACK, message.packet_id))
            in_use.remove(message.packet_id)


REDELIVERY = ["resend-dropped", "resend-id-changed", "resend-without-dup"]


@statement("MQTT-4.3.2-3", "MQTT-4.3.3-3", "MQTT-4.4.0-1", wrong=REDELIVERY)
@statement("MQTT311-4.3.2-1", "MQTT311-4.3.3-1", "MQTT311-4.4.0-1", wrong=REDELIVERY)
@QOS
def test_unacknowledged_messages_are_sent_again(client, unique, level, qos):
    """Without PUBACK or PUBREC a message comes again on each connection, as it was, with DUP."""
    one, other, topic = client(**durable(level)), client(), unique("t")
    one.subscribe((topic, qos))
    other.publish(topic, b"payload", qos=qos)
    first = one.expect(Kind.PUBLISH)
    for _ in range(2):
        one.close()
        one = client(one.client_id, **durable(level))
        again = one.expect(Kind.PUBLISH, packet_id=first.packet_id)
        assert (again.topic, again.payload, again.qos, again.dup) == (topic, b"payload", qos, True)


@statement("MQTT-4.3.2-3", "MQTT-4.3.3-3", wrong="resend-unasked")
@statement("MQTT311-4.3.2-1", "MQTT311-4.3.3-1", wrong="resend-unasked")
@QOS
def test_acknowledged_messages_are_not(client, unique, level, qos):
    """What was acknowledged is done, on the next connection too."""
    one, other, topic = client(**durable(level)), client(), unique("t")
    one.subscribe((topic, qos))
    other.publish(topic, b"payload", qos=qos)
    take(one, b"payload")
    one.ping()
    one.leave()
    client(one.client_id, **durable(level)).ping()


@statement("MQTT-4.3.2-4", wrong=["acked-and-lost", "puback-id-plus-one", "puback-dropped"])
@statement("MQTT311-4.3.2-2", wrong=["acked-and-lost", "puback-id-plus-one", "puback-dropped"])
def test_puback_takes_ownership(client, own_broker, unique, level):
    """PUBACK comes with the message's id, and after it the message survives the broker's death."""
    broker, topic = own_broker(), unique("t")
    one, other = client(to=broker, **durable(level)), client(to=broker)
    one.subscribe((topic, 1))
    one.leave()
    other.send(wire.publish(topic, b"owned", level, qos=1, packet_id=0x1234))
    other.expect(Kind.PUBACK, packet_id=0x1234)
    broker.kill()
    broker.start()
    take(client(one.client_id, to=broker, **durable(level)), b"owned")


@statement("MQTT-4.3.2-5", wrong=["id-reuse-swallowed", "puback-dropped"])
@statement("MQTT311-4.3.2-2", wrong=["id-reuse-swallowed", "puback-dropped"])
@pytest.mark.parametrize("dup", [False, True])
def test_after_puback_the_id_is_free(client, unique, level, dup):
    """After PUBACK the same identifier is a new message, whatever DUP says."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 1))
    for payload in (b"first", b"second"):
        repeated = dup and payload == b"second"
        other.send(wire.publish(topic, payload, level, qos=1, packet_id=5, dup=repeated))
        other.expect(Kind.PUBACK, packet_id=5)
        take(one, payload)


@statement("MQTT-4.3.3-4", wrong=["pubrel-dropped", "pubrel-id-plus-one"])
@statement("MQTT311-4.3.3-1", wrong=["pubrel-dropped", "pubrel-id-plus-one"])
@pytest.mark.parametrize("code", [None, 0x00])
def test_pubrec_is_answered(client, unique, level, code):
    """PUBREC, which in 5.0 may say 0x00 in so many bytes, is answered by PUBREL."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 2))
    other.publish(topic, b"", qos=2)
    message = one.expect(Kind.PUBLISH)
    one.send(wire.ack(Kind.PUBREC, message.packet_id, code if level == 5 else None))
    assert one.expect(Kind.PUBREL, packet_id=message.packet_id).code == 0


@statement("MQTT-4.3.3-5", "MQTT-4.3.3-6", "MQTT-4.4.0-1", wrong=["release-forgotten", "release-as-publish"])
@statement("MQTT311-4.3.3-1", "MQTT311-4.4.0-1", wrong=["release-forgotten", "release-as-publish"])
def test_release_is_sent_again(client, unique, level):
    """Until PUBCOMP each connection begins with the PUBREL again, never with the message; then it is done."""
    one, other, topic = client(**durable(level)), client(), unique("t")
    one.subscribe((topic, 2))
    other.publish(topic, b"", qos=2)
    packet_id = one.expect(Kind.PUBLISH).packet_id
    one.send(wire.ack(Kind.PUBREC, packet_id))
    one.expect(Kind.PUBREL, packet_id=packet_id)
    for _ in range(2):
        one.close()
        one = client(one.client_id, **durable(level))
        one.expect(Kind.PUBREL, packet_id=packet_id)
        one.ping()
    one.send(wire.ack(Kind.PUBCOMP, packet_id))
    one.ping()
    one.leave()
    client(one.client_id, **durable(level)).ping()


@statement("MQTT-4.3.3-7", wrong="resend-dropped")
@QOS
def test_no_expiry_once_sent(client, unique, qos, pass_secs):
    """A message that was sent does not expire any more: it comes again, however late."""
    one, other, topic = client(**durable()), client(), unique("t")
    one.subscribe((topic, qos))
    other.publish(topic, b"old", qos=qos, props=[(Property.MESSAGE_EXPIRY, 1)])
    first = one.expect(Kind.PUBLISH)
    pass_secs(2)
    one.close()
    again = client(one.client_id, **durable())
    take(again, b"old")
    assert first.qos == qos


@statement("MQTT-4.3.3-13", wrong=["pubrel-dropped", "pubrel-id-plus-one"])
def test_expired_and_still_released(client, unique, pass_secs):
    """The broker goes on with a handshake, though the message has expired in the middle of it."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 2))
    other.publish(topic, b"old", qos=2, props=[(Property.MESSAGE_EXPIRY, 1)])
    message = one.expect(Kind.PUBLISH)
    pass_secs(2, one)
    one.send(wire.ack(Kind.PUBREC, message.packet_id))
    one.expect(Kind.PUBREL, packet_id=message.packet_id)
    one.send(wire.ack(Kind.PUBCOMP, message.packet_id))
    one.ping()


@statement("MQTT-4.3.3-13", wrong=["pubcomp-dropped", "pubcomp-not-found"])
def test_expired_and_still_completed(client, unique, pass_secs):
    """PUBREL gets its PUBCOMP, though the message has expired since."""
    other = client()
    packet_id = start_release(other, unique("t"), b"old", props=[(Property.MESSAGE_EXPIRY, 1)])
    pass_secs(2, other)
    assert release(other, packet_id).code == 0


@statement("MQTT-4.3.3-8", wrong=["acked-and-lost", "pubrec-id-plus-one", "pubrec-dropped", "publish-doubled"])
@statement("MQTT311-4.3.3-2", wrong=["acked-and-lost", "pubrec-id-plus-one", "pubrec-dropped", "publish-doubled"])
def test_pubrec_takes_ownership(client, own_broker, unique, level):
    """PUBREC comes with the message's id, and after it the message survives the broker's death, once."""
    broker, topic = own_broker(), unique("t")
    one, other = client(to=broker, **durable(level)), client(to=broker, **durable(level))
    one.subscribe((topic, 1))
    one.leave()
    other.send(wire.publish(topic, b"owned", level, qos=2, packet_id=0x1234))
    other.expect(Kind.PUBREC, packet_id=0x1234)
    broker.kill()
    broker.start()
    other = client(other.client_id, to=broker, **durable(level))
    assert release(other, 0x1234).code == 0
    one = client(one.client_id, to=broker, **durable(level))
    take(one, b"owned")
    other.publish(topic, b"next", qos=1)
    take(one, b"next")


ONCE = ["dup-published-again", "pubrec-dropped", "pubrec-id-plus-one"]


@statement("MQTT-4.3.3-10", "H-10", wrong=ONCE)
@statement("MQTT311-4.3.3-2", wrong=ONCE)
def test_repeated_before_the_release(client, unique, level):
    """Each repetition before PUBREL gets its PUBREC, and the message is delivered once."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 1))
    for number in range(5):
        other.send(wire.publish(topic, b"once", level, qos=2, packet_id=9, dup=number > 0))
        assert other.expect(Kind.PUBREC, packet_id=9).code == 0
    release(other, 9)
    other.publish(topic, b"next", qos=1)
    take(one, b"once")
    take(one, b"next")


@statement("MQTT-4.3.3-11", wrong=["pubcomp-dropped", "pubcomp-id-plus-one"])
@statement("MQTT311-4.3.3-2", wrong=["pubcomp-dropped", "pubcomp-id-plus-one"])
def test_pubrel_is_answered(client, unique, level):
    """PUBREL is answered by PUBCOMP with the same identifier, repeated ones as well."""
    other = client()
    packet_id = start_release(other, unique("t"), b"")
    assert release(other, packet_id).code == 0
    assert release(other, packet_id).code == (NOT_FOUND if level == 5 else 0)


@statement("MQTT-4.3.3-12", "H-12", wrong="id-reuse-swallowed")
@statement("MQTT311-4.3.3-2", wrong="id-reuse-swallowed")
@pytest.mark.parametrize("dup", [False, True])
def test_after_pubcomp_the_id_is_free(client, unique, level, dup):
    """After PUBCOMP the same identifier begins a new message."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 1))
    for payload in (b"first", b"second"):
        repeated = dup and payload == b"second"
        other.send(wire.publish(topic, payload, level, qos=2, packet_id=5, dup=repeated))
        other.expect(Kind.PUBREC, packet_id=5)
        assert release(other, 5).code == 0
        take(one, payload)


@statement("MQTT-4.4.0-1", "H-13", wrong=[*REDELIVERY, "publish-order-swapped", "releases-swapped"])
@statement("MQTT311-4.4.0-1", "MQTT311-4.6.0-6", wrong=[*REDELIVERY, "publish-order-swapped", "releases-swapped"])
def test_redelivery(client, unique, level):
    """On resuming, messages come again with their ids in order, and a PUBREL for each that is past PUBREC."""
    one, other, topic = client(**durable(level)), client(), unique("t")
    one.subscribe((topic, 2))
    for number in range(6):
        other.publish(topic, b"%d" % number, qos=1 + number % 2)
    first = [one.expect(Kind.PUBLISH) for _ in range(6)]
    assert [message.payload for message in first] == [b"%d" % number for number in range(6)]
    for number in (1, 3):
        one.send(wire.ack(Kind.PUBREC, first[number].packet_id))
        one.expect(Kind.PUBREL, packet_id=first[number].packet_id)
    one.close()
    again = client(one.client_id, **durable(level))
    seen = [again.receive() for _ in range(6)]
    messages = [(p.packet_id, p.payload, p.dup) for p in seen if p.kind == Kind.PUBLISH]
    assert messages == [(first[n].packet_id, b"%d" % n, True) for n in (0, 2, 4, 5)]
    releases = [p.packet_id for p in seen if p.kind == Kind.PUBREL]
    assert releases == [first[1].packet_id, first[3].packet_id]
    again.ping()


@statement("MQTT-4.4.0-1", "H-14", "U5-46", wrong="resend-unasked")
@QOS
def test_no_resending_on_a_living_connection(client, unique, qos, pass_secs):
    """As long as the connection lives, silence does not bring the message again."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, qos))
    other.publish(topic, b"first", qos=qos)
    one.expect(Kind.PUBLISH)
    pass_secs(3)
    one.ping()
    other.publish(topic, b"second", qos=qos)
    assert one.expect(Kind.PUBLISH).payload == b"second"


@statement("MQTT-4.4.0-2", wrong="client-errors-ignored")
@QOS
@pytest.mark.parametrize("code", [0x80, 0x83, 0x87, 0x97])
def test_an_error_is_an_acknowledgement(client, unique, qos, code):
    """PUBACK or PUBREC with an error ends the message: it does not come again."""
    one, other, topic = client(**durable()), client(), unique("t")
    one.subscribe((topic, qos))
    other.publish(topic, b"refused", qos=qos)
    message = one.expect(Kind.PUBLISH)
    one.send(wire.ack(Kind.PUBACK if qos == 1 else Kind.PUBREC, message.packet_id, code))
    one.ping()
    one.leave()
    again = client(one.client_id, **durable())
    other.publish(topic, b"next", qos=qos)
    assert again.expect(Kind.PUBLISH).payload == b"next"


@statement("MQTT-4.5.0-1", wrong=["publish-doubled", "connect-clean-set", "acked-and-lost"])
@statement("MQTT311-4.5.0-1", wrong=["publish-doubled", "connect-clean-set", "acked-and-lost"])
def test_every_matching_session(client, unique, level):
    """A message goes to each session with a filter that fits, whether it is connected or not."""
    names, other = [unique("c") for _ in range(4)], client()
    topic = unique("t")
    filters = [f"{topic}/a", f"{topic}/+", f"{topic}/#", f"{topic}/other"]
    some = [client(name, **durable(level)) for name in names]
    for one, wanted in zip(some, filters, strict=True):
        one.subscribe((wanted, 1))
    for away in some[1::2]:
        away.leave()
    for payload in (b"first", b"second"):
        other.publish(f"{topic}/a", payload)
    other.publish(f"{topic}/other", b"third")
    some[1::2] = [client(name, **durable(level)) for name in names[1::2]]
    wanted = [[b"first", b"second"], *[[b"first", b"second", b"third"]] * 2, [b"third"]]
    for one, payloads in zip(some, wanted, strict=True):
        assert [take(one).payload for _ in payloads] == payloads
        one.ping()
