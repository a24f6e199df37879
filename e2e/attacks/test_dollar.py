"""Topics that begin with `$`: nobody writes there, and nobody sees them by accident (classes 4 and 6).

CVE-2019-11778 (Mosquitto: a will with a delay used memory that was free by then), CVE-2018-12543 (Mosquitto:
a publication to `$` without `$SYS` ended the broker) and CVE-2026-33217 (NATS: rules for topics did not
reach all of MQTT's names). That wildcards in front match no `$` is in conformance/test_topics.py.
"""

import os
import signal

import packets
import pytest
from mqtt import Client, Closed
from packets import Kind, Will
from test_log import USERS

pytestmark = pytest.mark.bellbird

NOT_AUTHORIZED, BAD_TOPIC = 0x87, 0x90
RESERVED = [
    "$", "$a", "$/", "$SYS", "$SYS/", "$SYS/broker/uptime", "$SYS/broker/connection/a/b/state",
    "$SYS/broker/connection/state", "$CONTROL/dynamic-security/v1", "$share/group/t", "$share", "$share/group",
    "$exclusive/t", "$exclusive", "$queue/t", "$delayed", "$delayed/t", "$delayed/x/t", "$delayed/-1/t",
    "$delayed/4294968/t", "$delayed/0/", "$MQTT", "$aws/things", "$SYSTEM/x",
]  # fmt: skip
"""What docs/topics.md leaves to nobody, and what is not of the form that it has."""
THROUGH_DELAYS = [
    "$delayed/0/$SYS/broker/uptime", "$delayed/0/$share/group/t", "$delayed/0/$exclusive/t", "$delayed/0/$a",
    "$delayed/0/$delayed/0/t", "$delayed/0/$delayed/0/$SYS/x", "$delayed/0/$",
]  # fmt: skip
"""Where the message would be published to is reserved as well."""
LISTENED = ["#", "$a/#", "$SYS/broker/connection/#", "$CONTROL/#", "$queue/#", "$MQTT/#", "$aws/#", "t", "$SYSTEM/#"]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_nobody_publishes_there(launch, client, level, qos):
    """Refused in the words of 5.0; before, acknowledged and dropped, or the end of the connection."""
    broker = launch(sys_secs=3600)
    witness = client(broker)
    witness.subscribe(*((name, 1) for name in LISTENED))
    member, owner = client(broker), client(broker)
    member.subscribe(("$share/group/t", 1))
    owner.subscribe(("$exclusive/t", 1))
    for topic in RESERVED + THROUGH_DELAYS:
        one = client(broker, level=level)
        one.send_publish(topic, b"forged", qos=qos, retain=True)
        one.send(packets.pingreq())
        code = answer(one, level)
        if level == 5 and qos:
            assert code in (NOT_AUTHORIZED, BAD_TOPIC), f"{topic}: {code}"
        one.close()
    one = client(broker)
    for topic in ("marker", "t"):
        one.publish(topic, b"true")
    heard = [witness.expect_message().topic for _ in range(2)]
    assert heard == ["marker", "t"]
    for listener in (member, owner):
        assert listener.expect_message().payload == b"true"
        listener.ping()
    late = client(broker)
    late.subscribe(*((name, 1) for name in LISTENED))
    late.ping()


def answer(one: Client, level: int) -> int | None:
    """The reason of whatever answers a PUBLISH; None if there is no answer."""
    try:
        packet = one.receive()
    except Closed:
        assert level == 4, "closed without the word that 5.0 has"
        return None
    return None if packet.kind == Kind.PINGRESP else packet.code


@pytest.mark.parametrize("delay", [None, 1])
def test_no_will_goes_there(launch, client, dial, level, delay):
    """CONNECT is refused with 0x90, before 5.0 with 3, and nobody hears the will."""
    broker = launch(sys_secs=3600)
    witness = client(broker)
    witness.subscribe(*((name, 1) for name in LISTENED))
    props = {0x18: delay} if level == 5 and delay else None
    for topic in [*RESERVED, "$delayed/1/t", *THROUGH_DELAYS]:
        one = dial(broker, level)
        one.send(packets.connect("doomed", level, will=Will(topic, b"forged", props=props)))
        code = one.expect(Kind.CONNACK).code
        assert code == (BAD_TOPIC if level == 5 else 3), f"{topic}: {code}"
        one.close()
    client(broker).publish("marker", b"true")
    assert witness.expect_message().topic == "marker"


def test_a_will_is_judged_when_it_is_published(launch, client, tmp_path):
    """Allowed when the client connected, and denied since: it is heard by nobody."""
    acl = tmp_path / "acl"
    (tmp_path / "users").write_text(USERS)
    acl.write_text("topic readwrite #\nuser bob\ntopic will/#\n")
    broker = launch("", f"--users={tmp_path / 'users'}", f"--acl={acl}", "--anonymous")
    witness = client(broker)
    witness.subscribe(("#", 1))
    bob = {"user": "bob", "password": "secret"}
    first = client(broker, "first", **bob, will=Will("will/first", b"allowed"))
    second = client(broker, "second", **bob, will=Will("will/second", b"denied since"))
    first.close()
    assert witness.expect_message().topic == "will/first"
    acl.write_text("topic readwrite #\nuser bob\ntopic other/#\n")
    os.kill(broker.pid, signal.SIGHUP)
    broker.process.expect(r" info: reload: ")
    refused = broker.metrics()["bellbird_publishes_refused_total"]
    second.close()
    broker.process.expect(r'publication of client "second" as user "bob" to "will/second" refused')
    client(broker).publish("marker", b"true")
    assert witness.expect_message().topic == "marker"
    assert broker.metrics()["bellbird_publishes_refused_total"] == refused + 1


BLIND = ["#", "+/#", "+/broker/#", "+/+/uptime", "+/broker/uptime", "$share/group/#", "$share/group/+/#",
         "$share/group/+/broker/uptime", "$exclusive/#", "$exclusive/+/broker/#", "/#", "+"]  # fmt: skip
SEEING = ["$SYS/#", "$SYS/broker/uptime", "$SYS/+/uptime", "$share/group/$SYS/#", "$exclusive/$SYS/broker/+"]


def test_only_who_names_it_sees_what_the_broker_says(launch, client):
    """Each filter alone, over two rounds of `$SYS`: retained messages, and those that come then."""
    broker = launch(sys_secs=1)
    clock = client(broker)
    clock.subscribe(("$SYS/broker/uptime", 0))
    listeners = {}
    for number, pattern in enumerate(BLIND + SEEING):
        listeners[pattern] = client(broker, f"listener{number}")
        assert listeners[pattern].subscribe((pattern, 0)).codes == (0,), pattern
    for _ in range(3):
        clock.expect(Kind.PUBLISH)
    for pattern, listener in listeners.items():
        listener.send(packets.pingreq())
        topics = set()
        while (packet := listener.receive()).kind != Kind.PINGRESP:
            topics.add(packet.topic)
        if pattern in BLIND:
            assert not topics, pattern
        else:
            assert topics and all(topic.startswith("$SYS/") for topic in topics), pattern


def test_a_rule_for_everything_opens_no_internal_topics(launch, client, tmp_path, level):
    """`#` in a rule does not reach them either, by whatever road they are asked for."""
    acl = tmp_path / "acl"
    (tmp_path / "users").write_text(USERS)
    acl.write_text("user bob\ntopic readwrite #\n")
    broker = launch("", f"--users={tmp_path / 'users'}", f"--acl={acl}", sys_secs=1)
    one = client(broker, "one", level, user="bob", password="secret")
    for pattern in ("$SYS/#", "$SYS/broker/uptime", "$share/group/$SYS/#", "$exclusive/$SYS/#", "$a"):
        assert one.subscribe((pattern, 0)).codes == ((NOT_AUTHORIZED if level == 5 else 0x80),), pattern
    assert one.subscribe(("#", 0)).codes == (0,)
    one.send_publish("marker", b"true", qos=0)
    assert one.expect_message().topic == "marker"
