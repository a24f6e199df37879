"""Wills: said when a client goes without a word, also over the broker's end."""

import pytest
from packets import Property, Will
from test_restart import ending, restart
from test_sessions import durable

WILL = Will("will/of/m", b"gone", qos=1)


def test_said_when_the_socket_closes(client, level):
    """[MQTT-3.1.2-8], [MQTT-3.1.2-10]."""
    witness = client("w", level)
    witness.subscribe(("will/#", 1))
    client("m", level, will=WILL).close()
    message = witness.expect_message(b"gone")
    assert (message.topic, message.qos, message.retain) == ("will/of/m", 1, False)


def test_not_said_after_goodbye(client, level):
    """[MQTT-3.14.4-3]: the witness hears the next message only."""
    witness = client("w", level)
    witness.subscribe(("will/#", 1))
    client("m", level, will=WILL).disconnect()
    client("p", level).publish("will/next", b"next")
    assert witness.expect_message().payload == b"next"


def test_said_when_keep_alive_ends(client, level):
    """[MQTT-3.1.2-22]."""
    witness = client("w", level)
    witness.subscribe(("will/#", 1))
    client("m", level, will=WILL, keepalive=1)
    witness.expect_message(b"gone")


def test_retained(client, level):
    """[MQTT-3.1.2-15]."""
    witness = client("w", level)
    witness.subscribe(("will/#", 1))
    client("m", level, will=Will("will/r", b"kept", retain=True)).close()
    witness.expect_message(b"kept")
    late = client("late", level)
    late.subscribe(("will/#", 1))
    assert late.expect_message(b"kept").retain


def test_a_delay_is_cancelled_by_coming_back(client):
    """[MQTT-3.1.3-9]."""
    witness = client("w", 5)
    witness.subscribe(("will/#", 1))
    options = durable(5)
    delayed = Will("will/d", b"too early", props={Property.WILL_DELAY: 1})
    client("m", 5, will=delayed, **options).close()
    # With another will, without delay: when this one is heard, the other's time is over.
    back = client("m", 5, will=Will("will/d", b"second", props={Property.WILL_DELAY: 2}), **options)
    back.close()
    assert witness.expect_message().payload == b"second"


@pytest.mark.bellbird
@ending
def test_said_after_the_brokers_end(broker, client, level, end):
    """Also that of a client whose session ended with its connection."""
    client("w", level, **durable(level)).subscribe(("will/#", 1))
    # The CONNACK of a session that ends with its connection does not wait for the disk. What is
    # acknowledged behind it does, and the will is there before.
    client("m", level, will=WILL).publish("will/m", b"alive")
    restart(broker, end)
    witness = client("w", level, **durable(level))
    assert {witness.expect_message().payload for _ in range(2)} == {b"alive", b"gone"}
    # The witness's acknowledgements are taken, and what is acknowledged behind them is on the disk.
    witness.ping()
    client("p", level).publish("will/next", b"only once")
    restart(broker, end)
    witness = client("w", level, **durable(level))
    assert witness.expect_message().payload == b"only once"
