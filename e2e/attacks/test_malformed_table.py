"""The malformed table: each case ends its connection with the right word, and hurts nobody else.

CVE-2017-7653 (Mosquitto: broken UTF-8 was passed on, and cut off whoever received it) and many after it:
three quarters of what fuzzers find in brokers are packets like these.
"""

import os
from collections.abc import Iterator

import mqtt
import packets
import pytest
from broker import Broker
from packets import Kind

from attacks import shapes, volley
from attacks.malformed import LEVELS, VERSIONS, Case, table
from attacks.measure import MIB, assert_unhurt, descriptors, ended, eventually, expect_descriptors, resident_bytes

pytestmark = pytest.mark.bellbird

CASES = table()
GROUPS = sorted({(case.level, case.group) for case in CASES})
MOST_TOLD = 40
GROWTH_BYTES = 8 * MIB
"""What a group of hundreds of cases may leave: the program's own warming up is in it."""


@pytest.fixture(scope="module")
def target(tmp_path_factory) -> Iterator[Broker]:
    """The broker of all groups, with its settings at their defaults."""
    broker = Broker(tmp_path_factory.mktemp("table") / "data", shards=2).offer_websocket()
    broker.start()
    open_before = descriptors(broker)
    try:
        yield broker
        # Who was refused is listened to for a moment longer, so this is looked at once for all.
        expect_descriptors(broker, open_before)
    finally:
        broker.kill()
        print(broker.log())


@pytest.fixture
def bystander(target) -> Iterator[mqtt.Client]:
    """Somebody who did nothing wrong."""
    with mqtt.Client(target.address) as one:
        one.connect("bystander")
        one.subscribe(("news", 1))
        yield one


def test_the_table_is_large():
    """Ten thousand cases or more over three versions, none of them twice, each with a name of its own."""
    assert len(CASES) >= 10_000
    assert {case.level for case in CASES} == set(LEVELS)
    assert len({(case.level, case.is_first, case.data) for case in CASES}) == len(CASES)
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names), [name for name in names if names.count(name) > 1][:10]


@pytest.mark.parametrize("frames", [False, True], ids=["tcp", "websocket"])
@pytest.mark.parametrize(("level", "group"), GROUPS, ids=lambda one: VERSIONS.get(one, one))
def test_malformed(target, bystander, level, group, frames):
    """All of one kind and one version: those that did not end as they must are told together."""
    cases = [case for case in CASES if (case.level, case.group) == (level, group)]
    before, ended_before = resident_bytes(target), ended(target)
    address = target.websocket_address if frames else target.address
    wrong = volley.complaints(volley.fire(cases, address, frames=frames), volley.judge)
    assert_unhurt(target)
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong[:MOST_TOLD])
    eventually(target, "each connection has ended", lambda: ended(target) >= ended_before + len(cases))
    assert resident_bytes(target) - before < GROWTH_BYTES
    still_served(target, bystander)


def still_served(target: Broker, bystander: mqtt.Client) -> None:
    """Who was there before gets the messages of who comes now."""
    with mqtt.Client(target.address, 5) as publisher:
        publisher.connect("publisher")
        publisher.publish("news", os.urandom(8))
    bystander.expect_message()
    bystander.ping()


@pytest.mark.parametrize("level", LEVELS, ids=VERSIONS.get)
def test_the_shapes_are_well_formed(target, level):
    """What the cases are made of is accepted as it stands: they are refused for what is wrong with them."""
    connects = [shape for shape in shapes.shapes(level) if shape.kind == Kind.CONNECT]
    for shape in connects:
        with mqtt.Client(target.address, level) as one:
            one.send(shape.encode())
            assert one.expect(Kind.CONNACK).code == 0, shape.name
            one.ping()
    for shape in shapes.shapes(level):
        # AUTH is an error on a connection without authentication, however good it is.
        if shape.kind in (Kind.CONNECT, Kind.AUTH):
            continue
        with mqtt.Client(target.address, level) as one:
            one.send(shapes.connect(level).encode({"client id": packets.string("good")}))
            assert one.expect(Kind.CONNACK).code == 0
            one.send(shape.encode())
            if shape.kind == Kind.DISCONNECT:
                assert one.expect_closed() is None, shape.name
                continue
            one.send(packets.pingreq())
            while (answer := one.receive(f"an answer behind {shape.name}")).kind != Kind.PINGRESP:
                assert answer.kind != Kind.DISCONNECT, f"{shape.name}: {answer}"


def test_the_judge_sees_what_is_wrong():
    """An ending that is not the right one is told, whatever the broker does."""
    five = Case(5, "g", "w", "r", b"", frozenset({0x81}))
    old = Case(4, "g", "w", "r", b"", frozenset())
    first = Case(5, "g", "w", "r", b"", frozenset({0x81}), True, True)
    good, other, connack = b"\xe0\x02\x81\x00", b"\xe0\x02\x82\x00", b"\x20\x03\x00\x81\x00"

    def verdict(case: Case, data: bytes, has_ended: bool = True) -> str:
        return volley.judge(case, volley.Ending(has_ended, True, data))

    assert not verdict(five, good) and not verdict(old, b"") and not verdict(first, connack)
    assert not verdict(first, b"")
    for case, data in ((five, b""), (five, other), (five, good + good), (five, connack), (old, good),
                       (first, good), (first, b"\x20\x03\x00\x82\x00"), (first, b"\x20\x03\x00\x00\x00")):
        assert verdict(case, data), (case, data)
    assert verdict(five, good, has_ended=False)
    assert volley.judge(five, volley.Ending(True, False, b""))
