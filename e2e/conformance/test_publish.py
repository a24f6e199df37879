"""Section 3.3: PUBLISH, its flags, its topic, its properties, and what is answered."""

import time

import pytest
import wire
from publishing import CLOSED, SAID, TOPIC_NAME_INVALID, durable, table, until_pong
from registry import statement
from wire import MALFORMED, PROTOCOL_ERROR, Kind, Property, Will

COARSE_SECS = 1
"""How coarse a broker's clock for expiry may be: MQTT counts it in whole seconds."""


@statement("MQTT-3.3.1-1", "MQTT311-3.3.1-1", wrong=["resend-without-dup", "resend-dropped"])
@pytest.mark.parametrize("qos", [1, 2])
def test_dup_of_a_message_sent_again(client, unique, level, qos):
    """A message that is sent again on the next connection says so."""
    first, other, topic = client(**durable(level)), client(), unique("t")
    first.subscribe((topic, qos))
    other.publish(topic, b"again", qos=qos)
    assert not first.expect(Kind.PUBLISH).dup
    first.close()
    message = client(first.client_id, **durable(level)).expect(Kind.PUBLISH)
    assert (message.payload, message.dup) == (b"again", True)


@statement("MQTT-3.3.1-2", "MQTT311-3.3.1-2", wrong=["publish-dup-flipped", "dup-passed-on"])
@pytest.mark.parametrize("qos", [1, 2])
def test_dup_at_qos_0(client, unique, level, qos):
    """What is sent at QoS 0 is never a repetition, even if it came as one."""
    one, topic = client(), unique("t")
    one.subscribe((topic, 0))
    packet_id = one.send_publish(topic, b"", qos=qos, dup=True)
    message = one.receive()
    if message.kind != Kind.PUBLISH:
        assert message.packet_id == packet_id
        message = one.expect(Kind.PUBLISH)
    assert (message.qos, message.dup) == (0, False)


@statement("MQTT-3.3.1-2", "U5-23", wrong=["close-hidden", "reason-generic"])
@statement("MQTT311-3.3.1-2", wrong=CLOSED)
def test_dup_at_qos_0_of_a_client(client, unique, level):
    """A client that sends DUP at QoS 0 breaks the protocol; 5.0 has two reasons that fit."""
    offender = client()
    offender.send(wire.publish(unique("t"), b"", level, dup=True))
    ending = offender.expect_closed()
    assert ending is None if level < 5 else ending.code in (MALFORMED, PROTOCOL_ERROR)


@statement("MQTT-3.3.1-3", wrong=["publish-dup-flipped", "dup-passed-on"])
@statement("MQTT311-3.3.1-3", wrong=["publish-dup-flipped", "dup-passed-on"])
@pytest.mark.parametrize("qos", [1, 2])
def test_dup_is_not_passed_on(client, unique, level, qos):
    """That the publisher repeats itself is nothing to the subscriber."""
    one, topic = client(), unique("t")
    one.subscribe((topic, qos))
    one.send_publish(topic, b"", qos=qos, dup=True)
    packets = [one.receive(), one.receive()]
    (message,) = [packet for packet in packets if packet.kind == Kind.PUBLISH]
    assert (message.qos, message.dup) == (qos, False)


@statement("MQTT-3.3.1-4", wrong=SAID)
@statement("MQTT311-3.3.1-4", wrong=CLOSED)
@pytest.mark.parametrize("dup", [False, True])
@pytest.mark.parametrize("retain", [False, True])
def test_qos_3(client, unique, level, dup, retain):
    """There is no QoS 3."""
    offender = client()
    offender.send(wire.publish(unique("t"), b"", level, qos=3, packet_id=1, dup=dup, retain=retain))
    offender.expect_refused(MALFORMED)


@statement("MQTT-3.3.2-1", wrong=["close-hidden", "disconnect-reason-generic"])
@statement("MQTT311-3.3.2-1", wrong=CLOSED)
@pytest.mark.parametrize("qos", [0, 1, 2])
@table({"lone byte": b"a\xff", "cut short": b"\xe2\x82", "overlong": b"\xc0\xaf", "surrogate": b"\xed\xb0\x80"})
def test_a_topic_that_is_no_text(client, level, qos, case):
    """A topic is UTF-8."""
    offender = client()
    offender.send(wire.publish(case, b"", level, qos=qos, packet_id=1))
    offender.expect_refused(MALFORMED)


@statement("MQTT-3.3.2-1", "MQTT311-3.3.2-1", wrong=["topic-latin-1", "topic-behind", "publish-topic-changed"])
def test_the_topic_is_first(client, unique, level):
    """The topic stands first in what the broker sends, as UTF-8."""
    one, topic = client(), unique("t") + "/Grüße/温度/🌡"
    one.subscribe((topic, 0))
    one.send_publish(topic, b"payload", qos=0)
    head = wire.string(topic)
    assert one.expect(Kind.PUBLISH).body[: len(head)] == head


@statement("MQTT-3.3.2-2", wrong=["close-hidden", "reason-generic"])
@statement("MQTT311-3.3.2-2", wrong=CLOSED)
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("topic", ["#", "+", "a/#", "a/+/b", "+/a", "a+", "#a/b"])
def test_wildcards_in_a_topic(client, level, qos, topic):
    """A topic has no wildcards, not even where a filter could not have them; 5.0 has two reasons for that."""
    offender = client()
    offender.send(wire.publish(topic, b"", level, qos=qos, packet_id=1))
    ending = offender.expect_closed()
    assert ending is None if level < 5 else ending.code in (TOPIC_NAME_INVALID, MALFORMED)


LEVELS = ["", "/a", "/a/b", "/a/b/c", "/a/x/c", "//", "/A", "/a/", "x/a"]
MATCHES = {
    "{}": [""],
    "{}/a": ["/a"],
    "{}/#": ["", "/a", "/a/b", "/a/b/c", "/a/x/c", "//", "/A", "/a/"],
    "{}/+": ["/a", "/A"],
    "{}/+/": ["//", "/a/"],
    "{}/a/#": ["/a", "/a/b", "/a/b/c", "/a/x/c", "/a/"],
    "{}/a/+/c": ["/a/b/c", "/a/x/c"],
    "{}/+/b": ["/a/b"],
    "{}/+/+/#": ["/a/b", "/a/b/c", "/a/x/c", "//", "/a/"],
}


@statement("MQTT-3.3.2-3", "MQTT311-3.3.2-3", wrong=["filter-widened", "publish-topic-changed"])
@pytest.mark.parametrize(("name", "wanted"), MATCHES.items(), ids=MATCHES.keys())
def test_topics_match_the_filter(client, unique, level, name, wanted):
    """A subscriber gets the messages whose topic its filter matches, and no others."""
    one, root = client(), unique("t")
    one.subscribe((name.format(root), 0))
    for behind in LEVELS:
        one.send_publish(root + behind, b"", qos=0)
    topics = [message.topic for message in until_pong(one)]
    assert topics == [root + behind for behind in LEVELS if behind in wanted]


FORWARDED = {
    "Payload Format 0": ("MQTT-3.3.2-4", [(0x01, 0)]),
    "Payload Format 1": ("MQTT-3.3.2-4", [(0x01, 1)]),
    "Response Topic": ("MQTT-3.3.2-15", [(0x08, "reply/to/ü")]),
    "Correlation Data": ("MQTT-3.3.2-16", [(0x09, b"\0\xff#+\xc0")]),
    "long Correlation Data": ("MQTT-3.3.2-16", [(0x09, b"\0\1" * 10000)]),
    "no Correlation Data": ("MQTT-3.3.2-16", [(0x09, b"")]),
    "User Properties": ("MQTT-3.3.2-17", [(0x26, ("b", "1")), (0x26, ("", "")), (0x26, ("ü", "3"))]),
    "Content Type": ("MQTT-3.3.2-20", [(0x03, "text/plain; charset=ü")]),
    "no Content Type": ("MQTT-3.3.2-20", [(0x03, "")]),
}


@pytest.mark.parametrize("path", ["live", "retained", "queued"])
@pytest.mark.parametrize(
    "props",
    [
        pytest.param(
            props,
            marks=statement(name, wrong=["publish-properties-stripped", "publish-properties-changed"]),
            id=what,
        )
        for what, (name, props) in FORWARDED.items()
    ],
)
def test_properties_are_forwarded(client, unique, props, path):
    """These properties are the application's: they arrive as they were sent, on each way to a subscriber."""
    one, other, topic = client(**durable(5)), client(), unique("t")
    if path != "retained":
        one.subscribe((topic, 1))
    if path == "queued":
        one.leave()
    other.publish(topic, b"payload", retain=path == "retained", props=props)
    if path == "queued":
        one = client(one.client_id, **durable(5))
    if path == "retained":
        one.subscribe((topic, 1))
    message = one.expect(Kind.PUBLISH)
    assert sorted(message.pairs) == sorted(props)


@statement("MQTT-3.3.2-18", wrong=["publish-property-order-reversed", "publish-properties-stripped"])
@statement("MQTT-3.3.2-17", wrong=["user-properties-once", "publish-properties-changed"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_order_of_user_properties(client, unique, qos):
    """User Properties keep their order, those of the same name and other properties in between included."""
    one, topic = client(), unique("t")
    one.subscribe((topic, qos))
    pairs = [(0x26, ("b", "1")), (0x26, ("a", "2")), (0x03, "x"), (0x26, ("b", "1")), (0x26, ("b", "0"))]
    one.send_publish(topic, b"", qos=qos, props=pairs)
    packets = [one.receive() for _ in range(2 if qos else 1)]
    (message,) = [packet for packet in packets if packet.kind == Kind.PUBLISH]
    assert message.values(0x26) == [value for name, value in pairs if name == 0x26]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(0x08, marks=statement("MQTT-3.3.2-13", wrong=SAID), id="Response Topic"),
        pytest.param(0x03, marks=statement("MQTT-3.3.2-19", wrong=SAID), id="Content Type"),
    ],
)
@table({"lone byte": b"a\xff", "cut short": b"\xe2\x82", "overlong": b"\xc0\xaf", "surrogate": b"\xed\xb0\x80"})
def test_properties_that_are_no_text(client, unique, name, case):
    """Response Topic and Content Type are UTF-8."""
    offender = client()
    offender.send(wire.publish(unique("t"), b"", 5, props=[(name, case)]))
    offender.expect_refused(MALFORMED)


WILDCARDS = pytest.mark.parametrize("topic", ["#", "+", "reply/#", "reply/+/to"])


@statement("MQTT-3.3.2-14", wrong=SAID)
@WILDCARDS
def test_wildcards_in_a_response_topic(client, unique, topic):
    """A Response Topic is a topic, so it has no wildcards."""
    offender = client()
    offender.send(wire.publish(unique("t"), b"", 5, props=[(0x08, topic)]))
    offender.expect_refused(PROTOCOL_ERROR)


@statement("MQTT-3.3.2-14", wrong=CLOSED)
@WILDCARDS
def test_wildcards_in_the_response_topic_of_a_will(dial, unique, topic):
    """The Response Topic of a will has no wildcards either."""
    offender = dial()
    offender.send(wire.connect(unique("c"), 5, will=Will(unique("t"), props=[(0x08, topic)])))
    offender.expect_unwelcome(PROTOCOL_ERROR)


@statement("MQTT-3.3.2-5", "H-18", wrong="message-expiry-ignored")
def test_an_expired_message(client, unique, pass_secs):
    """A message that expires while its subscriber is away is not sent, and does not block the next one."""
    one, other, topic = client(**durable(5)), client(), unique("t")
    one.subscribe((topic, 1))
    one.leave()
    other.publish(topic, b"short", props=[(Property.MESSAGE_EXPIRY, 1)])
    other.publish(topic, b"long", props=[(Property.MESSAGE_EXPIRY, 600)])
    pass_secs(1 + COARSE_SECS)
    assert client(one.client_id, **durable(5)).expect(Kind.PUBLISH).payload == b"long"


@statement("MQTT-3.3.2-6", "H-19", wrong=["message-expiry-not-counted", "message-expiry-restarted"])
@pytest.mark.parametrize("path", ["retained", "queued"])
def test_the_expiry_counts_down(client, unique, path, pass_secs):
    """What is left of the Message Expiry Interval is what was not spent waiting in the broker."""
    one, other, topic = client(**durable(5)), client(), unique("t")
    if path == "queued":
        one.subscribe((topic, 1))
        one.leave()
    other.publish(topic, b"kept", retain=path == "retained", props=[(Property.MESSAGE_EXPIRY, 100)])
    published = time.monotonic()
    pass_secs(1 + COARSE_SECS)
    if path == "queued":
        one = client(one.client_id, **durable(5))
    else:
        one.subscribe((topic, 1))
    (left,) = one.expect(Kind.PUBLISH).values(Property.MESSAGE_EXPIRY)
    waited = time.monotonic() - published
    assert 100 - waited - COARSE_SECS <= left <= 99


@statement("MQTT-3.3.2-6", wrong=["message-expiry-restarted", "publish-properties-stripped"])
def test_the_expiry_of_a_message_that_did_not_wait(client, unique):
    """Who gets the message at once gets the whole interval, or what a second of rounding leaves of it."""
    one, topic = client(), unique("t")
    one.subscribe((topic, 0))
    one.send_publish(topic, b"", qos=0, props=[(Property.MESSAGE_EXPIRY, 100)])
    assert one.expect(Kind.PUBLISH).values(Property.MESSAGE_EXPIRY) in ([100], [99])


@statement("U5-28", wrong="ack-code-unlisted")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_payload_that_is_no_text(client, unique, qos):
    """A payload that is no UTF-8 although it says so may be taken, or refused with the reason for that."""
    one = client()
    one.send_publish(unique("t"), b"\xff", qos=qos, props=[(0x01, 1)])
    answer = one.receive("an answer")
    kind = Kind.PUBACK if qos == 1 else Kind.PUBREC
    allowed = {(kind, 0), (kind, 0x10), (kind, 0x99), (Kind.DISCONNECT, 0x99)}
    assert (answer.kind, answer.code) in allowed


ANSWERS = {0: (Kind.PINGRESP, 0), 1: (Kind.PUBACK, 0x1234), 2: (Kind.PUBREC, 0x1234)}


@statement("MQTT-3.3.4-1", wrong=["qos-0-answered", "puback-dropped", "pubrec-dropped"])
@statement("MQTT311-3.3.4-1", wrong=["qos-0-answered", "puback-dropped", "pubrec-dropped"])
def test_answers_by_qos(client, unique, level):
    """QoS 0 gets no answer, QoS 1 a PUBACK and QoS 2 a PUBREC."""
    one, topic = client(), unique("t")
    for qos, (kind, packet_id) in ANSWERS.items():
        one.send(wire.publish(topic, b"", level, qos=qos, packet_id=packet_id))
        if qos == 0:
            one.send(wire.pingreq())
        answer = one.receive()
        assert (answer.kind, answer.packet_id) == (kind, packet_id)


@statement("MQTT-3.3.4-2", "H-26", wrong=["publish-qos-lowered", "publish-qos-raised"])
@statement("MQTT311-3.3.5-1", wrong=["publish-qos-lowered", "publish-qos-raised"])
@pytest.mark.parametrize(
    ("granted", "published"), [((0, 1), 1), ((1, 0), 2), ((0, 2), 1), ((2, 1, 0), 1), ((1, 1), 2)]
)
def test_overlapping_subscriptions(client, unique, level, granted, published):
    """The highest QoS of the matching filters counts, up to that of the message; lower copies may come too."""
    one, other, root = client(), client(), unique("t")
    filters = [f"{root}/a", f"{root}/+", f"{root}/#"]
    one.subscribe(*zip(filters, granted, strict=False))
    other.publish(f"{root}/a", b"", qos=published)
    copies = [one.expect(Kind.PUBLISH), *until_pong(one)]
    best = min(published, max(granted))
    found = sorted(message.qos for message in copies)
    assert found == [best] or found == sorted(min(published, qos) for qos in granted)


def with_id(one: wire.Client, topic: str, options: int, number: int) -> None:
    """Subscribes under a Subscription Identifier."""
    codes = one.subscribe((topic, options), props=[(Property.SUBSCRIPTION_ID, number)]).codes
    assert codes == (options & 3,)


@statement("MQTT-3.3.4-3", wrong=["subscription-ids-dropped", "subscription-id-added"])
@pytest.mark.parametrize("number", [1, 127, 128, 268435455])
def test_subscription_identifier(client, unique, number):
    """A message carries the identifier of the subscription it comes from."""
    one, topic = client(), unique("t")
    with_id(one, topic, 0, number)
    one.send_publish(topic, b"", qos=0)
    assert one.expect(Kind.PUBLISH).values(Property.SUBSCRIPTION_ID) == [number]


@statement("MQTT-3.3.4-3", wrong="subscription-id-added")
def test_no_subscription_identifier(client, unique):
    """A message from a subscription without identifier carries none."""
    one, root = client(), unique("t")
    with_id(one, f"{root}/a", 0, 1)
    one.subscribe((f"{root}/b", 0))
    one.send_publish(f"{root}/b", b"", qos=0)
    assert not one.expect(Kind.PUBLISH).values(Property.SUBSCRIPTION_ID)


@statement("MQTT-3.3.4-3", "H-27", wrong=["subscription-ids-dropped", "subscription-id-added"])
def test_subscription_identifier_of_a_retained_message(client, unique):
    """Retained messages carry the identifier of the subscription they are sent for as well."""
    one, topic = client(), unique("t")
    one.publish(topic, b"kept", retain=True)
    with_id(one, topic, 0, 5)
    assert one.expect(Kind.PUBLISH).values(Property.SUBSCRIPTION_ID) == [5]


@statement("MQTT-3.3.4-4", "MQTT-3.3.4-5", "H-26", wrong=["subscription-id-one", "subscription-ids-dropped"])
def test_several_subscription_identifiers(client, unique):
    """One copy lists the identifiers of all matching subscriptions; of several each has its own."""
    one, root = client(), unique("t")
    with_id(one, f"{root}/a", 0, 1)
    with_id(one, f"{root}/+", 0, 300)
    with_id(one, f"{root}/#", 0, 1)
    with_id(one, f"{root}/b", 0, 4)
    one.send_publish(f"{root}/a", b"", qos=0)
    copies = [one.expect(Kind.PUBLISH), *until_pong(one)]
    ids = sorted(sorted(message.values(Property.SUBSCRIPTION_ID)) for message in copies)
    # The same identifier twice may be listed once.
    assert ids in ([[1, 1, 300]], [[1, 300]], [[1], [1], [300]])


@statement("U5-31", wrong=["subscription-ids-dropped", "subscription-id-added"])
def test_subscription_identifier_of_a_shared_subscription(client, unique):
    """A member of a group sees the identifier that it gave itself, not those of the others."""
    members, other, root = [client(), client()], client(), unique("t")
    for number, member in enumerate(members, 1):
        with_id(member, f"$share/g/{root}/+", 0, number)
    for number in range(4):
        other.publish(f"{root}/{number}", b"", qos=0)
    seen = []
    for _ in range(20):
        for number, member in enumerate(members, 1):
            seen += [(number, message.values(Property.SUBSCRIPTION_ID)) for message in until_pong(member)]
        if len(seen) >= 4:
            break
    assert len(seen) == 4 and all(ids == [number] for number, ids in seen), seen


@statement("MQTT-3.3.4-6", "H-28", wrong=SAID)
@pytest.mark.parametrize("number", [0, 1, 268435455])
def test_subscription_identifier_of_a_client(client, unique, number):
    """A client does not publish with a Subscription Identifier."""
    offender = client()
    offender.send(wire.publish(unique("t"), b"", 5, props=[(Property.SUBSCRIPTION_ID, number)]))
    offender.expect_refused(PROTOCOL_ERROR)
