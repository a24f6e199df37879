"""Hard cases: the flows of messages, expiry, sizes, aliases."""

import pytest
import wire
from operation import (
    PACKET_TOO_LARGE,
    TOPIC_ALIAS_INVALID,
    durable,
    release,
    start_release,
    table,
    take,
)
from registry import statement
from wire import PROTOCOL_ERROR, Kind, Property

SAID = ["close-hidden", "disconnect-reason-generic"]
ACL = "topic readwrite #\ntopic deny denied/#\n"


@statement("H-9", "MQTT-4.3.3-10", wrong=["dup-published-again", "connect-clean-set"])
@statement("MQTT311-4.3.3-2", wrong=["dup-published-again", "connect-clean-set"])
def test_a_replay_on_a_resumed_session(client, unique, level):
    """A message of QoS 2 that is sent again on the next connection is delivered once."""
    one, other, topic = client(), client(**durable(level)), unique("t")
    one.subscribe((topic, 1))
    other.send(wire.publish(topic, b"once", level, qos=2, packet_id=9))
    # Whether the client takes note of this PUBREC is its own affair: what it does next is legal in both cases.
    other.expect(Kind.PUBREC, packet_id=9)
    other.close()
    again = client(other.client_id, **durable(level))
    again.send(wire.publish(topic, b"once", level, qos=2, packet_id=9, dup=True))
    again.expect(Kind.PUBREC, packet_id=9)
    assert release(again, 9).code == 0
    again.publish(topic, b"next", qos=2)
    take(one, b"once")
    take(one, b"next")


@statement("H-11", wrong=["dup-swallowed", "pubrec-dropped"])
@statement("MQTT-4.3.3-8", wrong="dup-swallowed")
@statement("MQTT311-4.3.3-2", wrong="dup-swallowed")
def test_a_first_try_that_was_lost(client, unique, level):
    """A message of QoS 2 that comes with DUP for the first time is a message."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 1))
    other.send(wire.publish(topic, b"late", level, qos=2, packet_id=9, dup=True))
    other.expect(Kind.PUBREC, packet_id=9)
    assert release(other, 9).code == 0
    take(one, b"late")


@statement("H-12", "MQTT-4.3.3-9", wrong=["id-reuse-swallowed", "ack-code-zeroed"])
def test_the_id_is_free_after_an_error(client, own_broker, tmp_path, unique):
    """After a PUBREC with an error the same identifier begins a new message, without a release between."""
    rules, topic = tmp_path / "rules", unique("t")
    rules.write_text(ACL)
    broker = own_broker(f'[access]\nacl = "{rules}"\n')
    one, other = client(to=broker), client(to=broker)
    one.subscribe((topic, 1))
    other.send(wire.publish("denied/" + topic, b"", 5, qos=2, packet_id=5))
    assert other.expect(Kind.PUBREC, packet_id=5).code == 0x87
    other.send(wire.publish(topic, b"good", 5, qos=2, packet_id=5))
    assert other.expect(Kind.PUBREC, packet_id=5).code == 0
    release(other, 5)
    take(one, b"good")


@statement("H-15", wrong=["dup-published-again", "publish-doubled"])
def test_a_repeated_message_and_a_newer_retained_one(client, unique):
    """What is retained is what was delivered last; a repetition does not bring an old message back."""
    witness, late, topic = client(), client(), unique("t")
    witness.subscribe((topic, 1))
    one, other = client(**durable()), client()
    packet_id = start_release(one, topic, b"old", retain=True)
    one.close()
    other.publish(topic, b"new", retain=True)
    again = client(one.client_id, **durable())
    again.send(wire.publish(topic, b"old", 5, qos=2, packet_id=packet_id, retain=True, dup=True))
    again.expect(Kind.PUBREC, packet_id=packet_id)
    release(again, packet_id)
    # Whether the old one is delivered at its PUBREC or at its release is the broker's choice.
    seen = [take(witness).payload for _ in range(2)]
    assert sorted(seen) == [b"new", b"old"]
    witness.ping()
    late.subscribe((topic, 1))
    take(late, seen[-1])


@statement("H-18", wrong="message-expiry-ignored")
@pytest.mark.parametrize("qos", [1, 2])
def test_expired_messages_make_room(client, unique, qos, pass_secs):
    """Expired messages in front of a queue are passed over."""
    one, other, topic = client(**durable()), client(), unique("t")
    one.subscribe((topic, qos))
    one.leave()
    for _ in range(3):
        other.publish(topic, b"short", qos=qos, props=[(Property.MESSAGE_EXPIRY, 1)])
    other.publish(topic, b"long", qos=qos, props=[(Property.MESSAGE_EXPIRY, 60)])
    other.publish(topic, b"for ever", qos=qos)
    pass_secs(2)
    again = client(one.client_id, **durable())
    assert [again.expect(Kind.PUBLISH).payload for _ in range(2)] == [b"long", b"for ever"]
    again.ping()


@statement("H-18", wrong=["message-expiry-ignored", "connect-receive-maximum-ignored"])
def test_expired_messages_behind_a_full_window(client, unique, pass_secs):
    """Messages that expire while they wait for the client's Receive Maximum do not stop those behind."""
    one, other, topic = client(props=[(0x21, 1)]), client(), unique("t")
    one.subscribe((topic, 1))
    other.publish(topic, b"first")
    other.publish(topic, b"short", props=[(Property.MESSAGE_EXPIRY, 1)])
    other.publish(topic, b"last")
    message = one.expect(Kind.PUBLISH)
    pass_secs(2, one)
    one.send(wire.ack(Kind.PUBACK, message.packet_id))
    take(one, b"last")


@statement("H-19", wrong=["message-expiry-restarted", "publish-properties-stripped"])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("retain", [False, True], ids=["queued", "retained"])
def test_expiry_counts_the_time_waited(client, own_broker, unique, restart, retain, pass_secs):
    """What is left of the Message Expiry Interval is told, also over a restart."""
    broker, topic = own_broker(), unique("t")
    one, other = client(to=broker, **durable()), client(to=broker)
    if not retain:
        one.subscribe((topic, 1))
    one.leave()
    other.publish(topic, b"60", retain=retain, props=[(Property.MESSAGE_EXPIRY, 60)])
    if restart:
        broker.kill()
    pass_secs(2)
    if restart:
        broker.start()
    again = client(one.client_id, to=broker, **durable())
    if retain:
        again.subscribe((topic, 1))
    left = take(again, b"60").values(Property.MESSAGE_EXPIRY)
    assert len(left) == 1 and 45 <= left[0] <= 58


@statement("H-20", wrong=["message-expiry-ignored", "publish-payload-bit-flipped", "acked-and-lost"])
def test_payloads_after_expiry_and_restart(client, own_broker, unique, pass_secs):
    """After some messages have expired and the broker was started again, each topic has its own payload."""
    broker, topic = own_broker(), unique("t")
    one, other = client(to=broker, **durable()), client(to=broker)
    names = [f"{topic}/{number}" for number in range(30)]
    one.subscribe(*((name, 1) for name in names))
    one.leave()
    for number, name in enumerate(names):
        short = [(Property.MESSAGE_EXPIRY, 1)] if number % 3 == 0 else None
        other.publish(name, name.encode() * (number + 1), retain=True, props=short)
    pass_secs(2)
    broker.kill()
    broker.start()
    again = client(one.client_id, to=broker, **durable())
    lasting = {name: name.encode() * (number + 1) for number, name in enumerate(names) if number % 3}
    found = [take(again) for _ in lasting]
    assert {message.topic: message.payload for message in found} == lasting
    again.ping()
    again.subscribe((topic + "/+", 0))
    assert {message.topic: message.payload for message in (take(again) for _ in lasting)} == lasting
    again.ping()


@statement("H-21", wrong=["connect-maximum-packet-ignored", "publish-dropped"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_too_large_for_the_client(client, unique, qos):
    """Messages that the client cannot take count as delivered: they hold no place, also when resuming."""
    limits = [(0x27, 100), (0x21, 1)]
    one, other, topic = client(**durable(5, *limits)), client(), unique("t")
    one.subscribe((topic, qos))
    for _ in range(5):
        other.publish(topic, b"x" * 200, qos=qos)
    other.publish(topic, b"small", qos=qos)
    take(one, b"small")
    one.leave()
    other.publish(topic, b"x" * 200, qos=1)
    again = client(one.client_id, **durable(5, *limits))
    other.publish(topic, b"next", qos=qos)
    take(again, b"next")
    again.ping()


@statement("H-22", wrong="wordy")
def test_no_reasons_that_are_too_long(client, unique):
    """What the broker answers is never larger than the client takes: reasons in words are left out."""
    one, topic = client(props=[(0x27, 20)]), unique("t")
    for packet in (
        wire.publish(topic, b"", 5, qos=1, packet_id=1),
        wire.ack(Kind.PUBREL, 77),
        wire.ack(Kind.PUBREC, 78),
        wire.subscribe(2, [("$share/g", 0)], 5),
        wire.unsubscribe(3, ["never"], 5),
    ):
        one.send(packet)
        assert 2 + len(one.receive().body) <= 20
    one.send(b"\0\0")
    ending = one.expect_closed()
    assert ending and 2 + len(ending.body) <= 20


@statement("H-23", wrong="close-hidden")
def test_too_large_before_connect(dial, own_broker, unique):
    """A CONNECT that is too large is refused from its header, before all of it has come."""
    offender = dial(to=own_broker("[limits]\npacket_bytes_max = 1000\n"))
    offender.send(wire.connect("c" * 2000, 5)[:14])
    ending = offender.expect_closed()
    assert ending is None or (ending.kind, ending.code) == (Kind.CONNACK, PACKET_TOO_LARGE)


@statement("H-24", wrong=SAID)
@table({"0": 0, "above the maximum": 65535})
def test_bad_aliases(dial, unique, case):
    """An alias is above 0 and not above the broker's maximum."""
    offender = dial()
    maximum = (offender.connect(unique("c")).values(0x22) or [0])[0]
    offender.send(wire.publish("t", b"", 5, props=[(Property.TOPIC_ALIAS, min(case, maximum + 1))]))
    offender.expect_refused(TOPIC_ALIAS_INVALID)


@statement("H-24", wrong=SAID)
def test_aliases_end_with_their_connection(client, unique):
    """A session that is resumed begins without aliases."""
    one, topic = client(**durable()), unique("t")
    for name in (topic, ""):
        one.publish(name, b"", props=[(Property.TOPIC_ALIAS, 1)])
    one.leave()
    offender = client(one.client_id, **durable())
    offender.send_publish("", b"", props=[(Property.TOPIC_ALIAS, 1)])
    offender.expect_refused(PROTOCOL_ERROR)
