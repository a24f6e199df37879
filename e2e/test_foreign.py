"""Foreign clients, each with itself and with each other, in both protocol versions."""

from contextlib import closing

import pytest
from foreign import (
    MosquittoSubscriber,
    MqttJsSubscriber,
    Paho,
    Received,
    mosquitto_publish,
    mosquitto_subscribe_and_leave,
    mqttjs_publish,
)

every_qos = pytest.mark.parametrize("qos", [0, 1, 2], ids="qos={}".format)


@every_qos
def test_paho_publishes_and_subscribes(broker, level, qos):
    with closing(Paho(broker.address, level)) as subscriber, closing(
        Paho(broker.address, level)
    ) as publisher:
        assert subscriber.subscribe("plant/+/speed", qos) == [qos]
        for number in range(50):
            publisher.publish("plant/mill/speed", f"{number}", qos)
        for number in range(50):
            assert subscriber.receive() == Received("plant/mill/speed", f"{number}", qos, False)


def test_paho_wildcards(broker, level):
    with closing(Paho(broker.address, level)) as subscriber, closing(
        Paho(broker.address, level)
    ) as publisher:
        subscriber.subscribe("a/+/c", 1)
        subscriber.subscribe("deep/#", 1)
        for topic in ("a/b", "a/b/c", "a/b/c/d", "a//c", "deep", "deep/er/still", "shallow"):
            publisher.publish(topic, topic, 1)
        received = [subscriber.receive().topic for _ in range(4)]
        assert received == ["a/b/c", "a//c", "deep", "deep/er/still"]


def test_paho_retained_message_and_its_removal(broker, level):
    with closing(Paho(broker.address, level)) as publisher:
        publisher.publish("lamp/state", "on", 1, retain=True)
        with closing(Paho(broker.address, level)) as first:
            first.subscribe("lamp/#", 1)
            assert first.receive() == Received("lamp/state", "on", 1, True)
        publisher.publish("lamp/state", "", 1, retain=True)
        with closing(Paho(broker.address, level)) as second:
            second.subscribe("lamp/#", 1)
            publisher.publish("lamp/live", "live", 1)
            assert second.receive() == Received("lamp/live", "live", 1, False)


def test_paho_unsubscribes(broker, level):
    with closing(Paho(broker.address, level)) as subscriber, closing(
        Paho(broker.address, level)
    ) as publisher:
        subscriber.subscribe("left", 1)
        subscriber.subscribe("kept", 1)
        subscriber.unsubscribe("left")
        publisher.publish("left", "unwanted", 1)
        publisher.publish("kept", "wanted", 1)
        assert subscriber.receive().payload == "wanted"


def test_paho_persistent_session(broker, level):
    with closing(Paho(broker.address, level, "meter", clean=False)) as first:
        assert not first.session_present
        first.subscribe("power", 1)
    with closing(Paho(broker.address, level)) as publisher:
        for number in range(20):
            publisher.publish("power", f"{number}", 1)
    with closing(Paho(broker.address, level, "meter", clean=False)) as second:
        assert second.session_present
        assert [second.receive().payload for _ in range(20)] == [str(n) for n in range(20)]


@every_qos
def test_mqttjs_publishes_and_subscribes(broker, level, qos):
    with closing(MqttJsSubscriber(broker.address, level, "js/#", qos)) as subscriber:
        assert subscriber.granted == [qos]
        payloads = [f"{number}" for number in range(20)]
        mqttjs_publish(broker.address, level, "js/one", payloads, qos)
        for payload in payloads:
            assert subscriber.receive() == Received("js/one", payload, qos, False)


@every_qos
def test_mosquitto_clients(broker, level, qos):
    with closing(MosquittoSubscriber(broker.address, level, "m/+", qos, 2)) as subscriber:
        mosquitto_publish(broker.address, level, "m/a", "first", qos)
        assert subscriber.receive() == Received("m/a", "first", qos, False)
        mosquitto_publish(broker.address, level, "m/b", "second", qos)
        assert subscriber.receive() == Received("m/b", "second", qos, False)
        subscriber.finish()


def test_mosquitto_clients_retained(broker, level):
    mosquitto_publish(broker.address, level, "tank/level", "71", 1, "-r")
    with closing(MosquittoSubscriber(broker.address, level, "tank/#", 1, 1)) as subscriber:
        assert subscriber.receive() == Received("tank/level", "71", 1, True)
        subscriber.finish()


def test_mosquitto_clients_persistent_session(broker, level):
    session = ["-c", "-i", "cellar"] + (["-x", "3600"] if level == 5 else [])
    mosquitto_subscribe_and_leave(broker.address, level, "wine", *session)
    mosquitto_publish(broker.address, level, "wine", "red", 1)
    mosquitto_publish(broker.address, level, "wine", "white", 1)
    with closing(MosquittoSubscriber(broker.address, level, "wine", 1, 2, *session)) as subscriber:
        assert [subscriber.receive().payload for _ in range(2)] == ["red", "white"]
        subscriber.finish()


def test_paho_to_mqttjs(broker, level):
    with closing(MqttJsSubscriber(broker.address, level, "x/y", 1)) as subscriber, closing(
        Paho(broker.address, level)
    ) as publisher:
        publisher.publish("x/y", "grüße", 1)
        assert subscriber.receive() == Received("x/y", "grüße", 1, False)


def test_mosquitto_pub_to_paho(broker, level):
    with closing(Paho(broker.address, level)) as subscriber:
        subscriber.subscribe("x/y", 1)
        mosquitto_publish(broker.address, level, "x/y", "hello", 1)
        assert subscriber.receive() == Received("x/y", "hello", 1, False)


def test_mqttjs_to_mosquitto_sub(broker, level):
    with closing(MosquittoSubscriber(broker.address, level, "x/y", 1, 1)) as subscriber:
        mqttjs_publish(broker.address, level, "x/y", ["hello"], 1)
        assert subscriber.receive() == Received("x/y", "hello", 1, False)
        subscriber.finish()


def test_versions_meet(broker):
    with closing(Paho(broker.address, 4)) as old, closing(Paho(broker.address, 5)) as new:
        old.subscribe("to/old", 1)
        new.subscribe("to/new", 1)
        old.publish("to/new", "from 3.1.1", 1)
        new.publish("to/old", "from 5.0", 1)
        assert new.receive().payload == "from 3.1.1"
        assert old.receive().payload == "from 5.0"
