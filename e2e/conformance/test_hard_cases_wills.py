"""Hard cases: wills with a delay, sessions that end, restarts, and keep alive."""

import time

import pytest
import wire
from operation import durable, take
from registry import statement
from wire import KEEP_ALIVE_TIMEOUT, Kind, Property, Will

WITH_WILL = 0x04
"""The reason of a DISCONNECT after which the will is said."""

LONG = 600


def mortal(topic: str, delay: int | None, *, payload: bytes = b"gone", qos: int = 0) -> Will:
    """A will with this delay."""
    return Will(topic, payload, qos=qos, props=None if delay is None else [(Property.WILL_DELAY, delay)])


TAKEOVERS = {
    # Delay and session expiry of the first connection, Clean Start of the second; the double.
    "no delay": (0, LONG, False, "H-1", "will-late"),
    "Clean Start ends the session": (LONG, LONG, True, "H-1", "connect-clean-cleared"),
    "no delay, Clean Start": (0, LONG, True, "H-1", "publish-dropped"),
    "the session ends with its connection": (LONG, 0, False, "H-2", "connect-expiry-forever"),
}


@pytest.mark.parametrize(
    ("delay", "secs", "clean"),
    [
        pytest.param(*row[:3], id=name, marks=statement(row[3], wrong=row[4]))
        for name, row in TAKEOVERS.items()
    ],
)
def test_a_will_on_takeover(client, unique, delay, secs, clean):
    """Whoever is taken over leaves a will at once, if it has no delay or its session ends."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 0))
    first = client(**durable(secs=secs, will=mortal(topic, delay)))
    client(first.client_id, **durable(clean=clean))
    take(witness, b"gone")


@statement("H-1", "H-4", wrong="will-at-once")
def test_no_will_on_takeover(client, unique, pass_secs):
    """Whoever takes a session over before the delay is over saves it from its will."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 0))
    first = client(**durable(will=mortal(topic, 1)))
    second = client(first.client_id, **durable())
    pass_secs(2, second)
    second.publish(topic, b"next", qos=0)
    take(witness, b"next")


@statement("H-3", wrong=["will-at-once", "will-late"])
def test_not_before_the_delay(client, unique):
    """A will waits for its delay, and comes then."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 0))
    first = client(**durable(will=mortal(topic, 2)))
    started = time.monotonic()
    first.close()
    # A broker may look around once a second only.
    take(witness, b"gone", within=2 + 1)
    assert time.monotonic() - started >= 1.9


@statement("H-5", "U5-13", wrong=["connect-expiry-forever", "publish-doubled"])
def test_the_session_ends_before_the_delay(client, unique, pass_secs):
    """If the session expires before the delay is over, the will comes then, and once."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 0))
    started = time.monotonic()
    client(**durable(secs=1, will=mortal(topic, 3))).close()
    take(witness, b"gone", within=1 + 1)
    assert 0.9 <= time.monotonic() - started
    pass_secs(3, witness)


@statement("H-5", wrong=["will-late", "publish-doubled"])
def test_the_delay_is_over_before_the_session(client, unique, pass_secs):
    """If the delay is over before the session expires, the will comes then, and once."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 0))
    client(**durable(secs=3, will=mortal(topic, 1))).close()
    take(witness, b"gone", within=1 + 1)
    pass_secs(4, witness)


@statement("H-6", wrong=["will-late", "acked-and-lost", "connect-clean-set"])
def test_a_pending_will_survives_a_restart(client, own_broker, unique):
    """A will that waits for its delay when the broker dies comes after the restart."""
    broker, topic = own_broker(), unique("t")
    witness = client(to=broker, **durable())
    witness.subscribe((topic, 1))
    one = client(to=broker, **durable(will=mortal(topic, 2, qos=1)))
    client(to=broker).publish(topic, b"before")
    take(witness, b"before")
    one.send(wire.disconnect(WITH_WILL))
    assert one.expect_closed() is None
    broker.kill()
    broker.start()
    witness = client(witness.client_id, to=broker, **durable())
    message = take(witness, within=2 + 1)
    if message.payload == b"before":
        # The kill came before the acknowledgement was in the log, and QoS 1 may come again.
        message = take(witness, within=2 + 1)
    assert message.payload == b"gone"


@statement("U5-7", wrong=["publish-dropped", "connect-clean-set"])
def test_a_will_when_the_broker_dies(client, own_broker, unique):
    """The will of a connection that ended with the broker should come after the restart."""
    broker, topic = own_broker(), unique("t")
    witness = client(to=broker, **durable())
    witness.subscribe((topic, 1))
    client(to=broker, **durable(will=mortal(topic, None, qos=1))).ping()
    broker.kill()
    broker.start()
    # A broker may look around once a second only.
    take(client(witness.client_id, to=broker, **durable()), b"gone", within=2)


@statement("H-8", wrong="will-delay-leaked")
def test_the_delay_is_not_in_the_message(client, unique):
    """The delay is for the broker: it is no property of the message."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 0))
    one = client(**durable(will=Will(topic, props=[(Property.WILL_DELAY, 1), (0x03, "text")])))
    one.close()
    assert take(witness, within=1 + 1).pairs == ((0x03, "text"),)


@statement("H-36", wrong="connect-expiry-forever")
def test_time_counts_while_the_broker_is_down(client, dial, own_broker, unique, pass_secs):
    """A session whose time is over while the broker is down is not there any more after the restart."""
    broker, topic = own_broker(), unique("t")
    client(to=broker, **durable()).subscribe((topic, 1))
    one = client(to=broker, **durable(secs=2))
    one.leave()
    # What is acknowledged after that has been written down after that.
    client(to=broker).publish(topic, b"")
    broker.kill()
    pass_secs(3)
    broker.start()
    assert not dial(to=broker).connect(one.client_id, **durable()).session_present


@statement("H-36", wrong="client-disconnect-plain")
def test_a_session_ends_by_disconnect(client, dial):
    """A Session Expiry Interval of 0 in DISCONNECT ends the session with its connection."""
    one = client(**durable())
    one.send(wire.disconnect(0, [(Property.SESSION_EXPIRY, 0)]))
    assert one.expect_closed() is None
    assert not dial().connect(one.client_id, **durable()).session_present


@statement("H-36", wrong="client-disconnect-plain")
def test_a_session_is_prolonged_by_disconnect(client, dial, pass_secs):
    """A session that has an interval may get a longer one in DISCONNECT."""
    one = client(**durable(secs=1))
    one.send(wire.disconnect(0, [(Property.SESSION_EXPIRY, LONG)]))
    assert one.expect_closed() is None
    pass_secs(3)
    assert dial().connect(one.client_id, **durable()).session_present


def expect_cut(one: wire.Client, started: float) -> None:
    """The connection ends for its keep alive of a second, whatever is sent to the client meanwhile."""
    while (packet := one.receive("the end", within=2.5)).kind == Kind.PUBLISH:
        pass
    assert (packet.kind, packet.code) == (Kind.DISCONNECT, KEEP_ALIVE_TIMEOUT)
    assert 1.45 <= time.monotonic() - started <= 2.5 + wire.mqtt.PATIENCE_SECS
    assert one.expect_closed() is None


@statement("H-40", wrong=["connect-keepalive-zeroed", "close-hidden", "disconnect-reason-generic"])
def test_what_is_sent_to_a_client_keeps_nothing_alive(client, unique, pass_secs):
    """Only what the client sends counts for the keep alive."""
    one, other, topic = client(keepalive=1), client(), unique("t")
    started = time.monotonic()
    one.subscribe((topic, 0))
    pass_secs(3, meanwhile=lambda: other.publish(topic, b"", qos=0))
    expect_cut(one, started)


@statement("H-40", wrong=["connack-properties-stripped", "close-hidden", "disconnect-reason-generic"])
@pytest.mark.parametrize("keepalive", [0, 60])
def test_the_broker_s_keep_alive(dial, own_broker, unique, keepalive):
    """The broker's Server Keep Alive replaces the client's, and is announced."""
    one = dial(to=own_broker("[limits]\nkeep_alive_secs_max = 1\n"))
    started = time.monotonic()
    assert one.connect(unique("c"), keepalive=keepalive).values(0x13) == [1]
    expect_cut(one, started)


@statement("H-40", wrong="forgets-after-a-second")
def test_any_packet_keeps_alive(client, unique, pass_secs):
    """Each packet of the client counts, not only PINGREQ; a message after that still comes."""
    one, topic = client(keepalive=1), unique("t")
    one.subscribe((topic, 0))

    def speak() -> None:
        one.send_publish(topic, b"", qos=0)
        take(one)

    pass_secs(3, meanwhile=speak)
