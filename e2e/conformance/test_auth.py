"""Sections 3.15 and 4.12: AUTH and enhanced authentication.

The broker offers a method for these tests when its configuration switches it on: it greets who reverses
the eight bytes of its challenge.
"""

import pytest
import wire
from registry import statement
from wire import MALFORMED, PROTOCOL_ERROR, Kind, Packet, Property

CLOSED = ["close-hidden"]
SAID = ["close-hidden", "disconnect-reason-generic"]
METHOD, DATA = 0x15, 0x16
NAME = "BELLBIRD-TEST"
CONTINUE, AGAIN = 0x18, 0x19
NOT_AUTHORIZED, BAD_METHOD = 0x87, 0x8C
SWITCHED_ON = "[access]\ntest_mechanism = true\n"


def table(data: dict) -> pytest.MarkDecorator:
    """One run for each entry, named by its key."""
    return pytest.mark.parametrize("case", data.values(), ids=data.keys())


def named(data: bytes | None = None, method: str = NAME) -> list:
    """Properties that name the method, with data if there are any."""
    return [(METHOD, method), *([(DATA, data)] if data is not None else [])]


def auth(code: int | None, data: bytes | None = None, **options) -> bytes:
    """AUTH with the method of the tests."""
    return wire.auth(code, named(data), **options)


@pytest.fixture
def begin(dial, own_broker, unique):
    """Opens a connection and begins to authenticate: it is left when the broker's challenge has come."""
    brokers: list = []

    def open_one(client_id=None, **options) -> tuple[wire.Client, bytes]:
        brokers[:] = brokers or [own_broker(SWITCHED_ON)]
        one = dial(5, to=brokers[0])
        one.client_id = unique("c") if client_id is None else client_id
        props = [*named(b"user"), *options.pop("props", [])]
        one.send(wire.connect(one.client_id, 5, props=props, **options))
        return one, challenge(one)

    open_one.broker = lambda: brokers[0]
    return open_one


@pytest.fixture
def authenticated(begin):
    """Opens a connection that has authenticated itself."""

    def open_one(client_id=None, **options) -> wire.Client:
        one, asked = begin(client_id, **options)
        one.send(auth(CONTINUE, asked[::-1]))
        assert one.expect(Kind.CONNACK).code == 0
        return one

    return open_one


def challenge(one: wire.Client) -> bytes:
    """Waits for the broker's challenge and returns it."""
    asked = one.expect(Kind.AUTH)
    assert asked.code == CONTINUE, f"expected a challenge, got {asked}"
    (data,) = asked.values(DATA) or [b""]
    assert len(data) == 8
    return data


def again(one: wire.Client) -> Packet:
    """Authenticates the connection again, and returns the broker's last word."""
    one.send(auth(AGAIN, b"user"))
    one.send(auth(CONTINUE, challenge(one)[::-1]))
    return one.expect(Kind.AUTH)


@statement("MQTT-3.15.1-1", wrong=[*SAID, "request-flags-corrected"])
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
def test_flags_of_auth(authenticated, flags):
    """The flags of AUTH are 0."""
    offender = authenticated()
    offender.send(auth(AGAIN, b"user", flags=flags))
    offender.expect_refused(MALFORMED)


@statement("MQTT-3.15.1-1", wrong=[*CLOSED, "request-flags-corrected"])
def test_flags_of_auth_before_connack(begin):
    """Also before CONNACK, which then may say so."""
    offender, asked = begin()
    offender.send(auth(CONTINUE, asked[::-1], flags=2))
    offender.expect_unwelcome(MALFORMED)


@statement("MQTT-3.15.2-1", wrong="auth-code-unlisted")
@statement("MQTT-4.12.0-2", wrong=["auth-code-zeroed", "auth-dropped"])
def test_codes_of_the_broker(begin):
    """The broker asks for more with AUTH and 0x18."""
    one, asked = begin()
    one.send(auth(CONTINUE, asked[::-1]))
    assert one.expect(Kind.CONNACK).code == 0
    one.send(auth(AGAIN, b"user"))
    asked = challenge(one)
    one.send(auth(CONTINUE, asked[::-1]))
    assert one.expect(Kind.AUTH).code == 0


@statement("MQTT-3.15.2-1", wrong=[*SAID, "client-auth-begins-again"])
@pytest.mark.parametrize("code", [0x00, 0x01, 0x17, 0x1A, 0x80, 0x87, 0xFF])
def test_codes_of_a_client(authenticated, code):
    """A client begins again with 0x19; 0x00 is for the broker, and others are not listed at all."""
    offender = authenticated()
    offender.send(auth(code, b"user"))
    ending = offender.expect_closed()
    listed = (PROTOCOL_ERROR,) if code == 0 else (PROTOCOL_ERROR, MALFORMED)
    assert ending is not None and ending.code in listed


@statement("MQTT-3.15.2-2", "H-22", wrong="auth-reason-long")
@statement("MQTT-3.15.2-3", wrong="auth-user-property-long")
def test_auth_for_a_small_client(begin, dial, unique):
    """Reasons in words are left out of an AUTH that would be too large with them."""
    _, asked = begin()
    # What AUTH has to hold: its code, the length of its properties, method and data.
    size = 2 + 1 + 1 + (3 + len(NAME)) + (3 + len(asked))
    small = dial(5, to=begin.broker())
    small.send(wire.connect(unique("c"), 5, props=[*named(b"user"), (0x27, size)]))
    assert 2 + len(small.expect(Kind.AUTH).body) <= size


@statement("MQTT-4.12.0-1", wrong=[*CLOSED, "connack-code-zeroed", "connect-method-ignored"])
@pytest.mark.parametrize("method", ["unheard of", "SCRAM-SHA-1", "bellbird-test", "BELLBIRD-TEST-2", ""])
@pytest.mark.parametrize("switched_on", [False, True])
def test_unknown_method(dial, own_broker, unique, method, switched_on):
    """A method that the broker does not have ends the connection, be it said why or not."""
    offender = dial(5, to=own_broker(SWITCHED_ON if switched_on else ""))
    offender.send(wire.connect(unique("c"), 5, props=named(b"user", method)))
    ending = offender.expect_closed()
    assert ending is None or (ending.kind == Kind.CONNACK and ending.code in (BAD_METHOD, NOT_AUTHORIZED))


@statement("MQTT-4.12.0-1", "U5-53", wrong=["connack-dropped", "reason-generic"])
def test_unknown_method_is_told(dial, unique):
    """The most specific reason for that is 0x8C, and should be given."""
    offender = dial(5)
    offender.send(wire.connect(unique("c"), 5, props=named(b"user", "unheard of")))
    offender.expect_refused(BAD_METHOD)


@statement("MQTT-4.12.0-1", wrong=[*CLOSED, "connect-method-ignored"])
def test_method_that_is_switched_off(dial, unique):
    """The method of the tests is there only where it was switched on."""
    offender = dial(5)
    offender.send(wire.connect(unique("c"), 5, props=named(b"user")))
    offender.expect_refused(BAD_METHOD)


@statement("MQTT-4.12.0-3", wrong=[*CLOSED, "client-auth-continues"])
@pytest.mark.parametrize("code", [0x00, 0x19, 0x01, 0x87])
def test_continuing_with_another_code(begin, code):
    """A client goes on with 0x18, and with nothing else."""
    offender, asked = begin()
    offender.send(auth(code, asked[::-1]))
    ending = offender.expect_closed()
    listed = (PROTOCOL_ERROR,) if code in (0x00, 0x19) else (PROTOCOL_ERROR, MALFORMED)
    assert ending is None or (ending.kind == Kind.CONNACK and ending.code in listed)


@statement("MQTT-4.12.0-3", "U5-52", wrong=["connack-dropped", "auth-in-place-of-connack", "client-auth-dropped"])
def test_success(begin):
    """The right answer with 0x18 is followed by CONNACK and 0, and not by an AUTH."""
    one, asked = begin()
    one.send(auth(CONTINUE, asked[::-1]))
    assert one.expect(Kind.CONNACK).code == 0
    one.ping()


@statement("MQTT-4.12.0-4", wrong=["close-hidden", "close-withheld", "connack-code-zeroed", "reason-generic"])
@statement("MQTT-4.12.0-4", wrong="client-auth-answered-right")
@table({"not reversed": lambda asked: asked, "nothing": lambda asked: b"", "other bytes": lambda asked: b"12345678"})
def test_wrong_answer(begin, case):
    """The wrong answer gets a CONNACK that says so, and a close."""
    offender, asked = begin()
    offender.send(auth(CONTINUE, case(asked)))
    ending = offender.expect_refused(NOT_AUTHORIZED)
    assert ending.kind == Kind.CONNACK


@statement("MQTT-4.12.0-4", wrong="auth-challenge-constant")
def test_challenges_differ(begin):
    """An answer that was right once is of no use for another connection."""
    assert len({begin()[1] for _ in range(5)}) == 5


@statement("MQTT-4.12.0-5", wrong=["auth-method-dropped", "auth-method-changed"])
@statement("MQTT-4.12.0-5", wrong=["connack-method-dropped", "connack-method-changed"])
def test_the_method_is_repeated(begin, dial, unique):
    """Each AUTH and the CONNACK name the method of the CONNECT."""
    begin()
    one = dial(5, to=begin.broker())
    one.send(wire.connect(unique("c"), 5, props=named(b"user")))
    asked = one.expect(Kind.AUTH)
    one.send(auth(CONTINUE, asked.values(DATA)[0][::-1]))
    connack = one.expect(Kind.CONNACK)
    assert (connack.code, connack.values(DATA)) == (0, [b"welcome"])
    one.send(auth(AGAIN, b"user"))
    asked_again = one.expect(Kind.AUTH)
    one.send(auth(CONTINUE, asked_again.values(DATA)[0][::-1]))
    granted = one.expect(Kind.AUTH)
    assert [packet.values(METHOD) for packet in (asked, connack, asked_again, granted)] == [[NAME]] * 4


OTHERWISE = {
    "another method": lambda data: [(METHOD, "OTHER"), (DATA, data)],
    "no method": lambda data: [(DATA, data)],
    "nothing at all": lambda data: None,
}


@statement("MQTT-4.12.0-5", "U5-44", wrong=[*CLOSED, "client-auth-method-corrected"])
@table({name: case for name, case in OTHERWISE.items() if name != "nothing at all"})
def test_continuing_with_another_method(begin, case):
    """A client goes on with the method of its CONNECT."""
    offender, asked = begin()
    offender.send(wire.auth(CONTINUE, case(asked[::-1])))
    ending = offender.expect_closed()
    assert ending is None or (ending.kind == Kind.CONNACK and ending.code in (PROTOCOL_ERROR, BAD_METHOD))


@statement("U5-5", wrong=CLOSED)
@pytest.mark.parametrize("which", [METHOD, DATA])
def test_auth_properties_given_twice(begin, which):
    """Method and data are given once in an AUTH."""
    offender, asked = begin()
    pairs = named(asked[::-1])
    offender.send(wire.auth(CONTINUE, pairs + [pair for pair in pairs if pair[0] == which]))
    offender.expect_unwelcome(PROTOCOL_ERROR)


@statement("MQTT-4.12.0-6", wrong=["connack-method-added", "auth-unasked"])
@pytest.mark.parametrize("switched_on", [False, True])
def test_no_method(dial, own_broker, unique, switched_on):
    """Who names no method gets no AUTH, and no method in CONNACK."""
    one = dial(5, to=own_broker(SWITCHED_ON if switched_on else ""))
    connack = one.connect(unique("c"))
    assert not connack.values(METHOD) and not connack.values(DATA)
    one.ping()


@statement("MQTT-4.12.0-6", wrong=["connack-method-added", "auth-unasked"])
def test_no_method_with_user_name(dial, unique):
    """User name and password are no method."""
    connack = dial().connect(unique("c"), username="user", password=b"secret")
    assert not connack.values(METHOD) and not connack.values(DATA)


@statement("MQTT-4.12.0-7", "U5-44", wrong=SAID)
@table(
    {
        "again": auth(AGAIN, b"user"),
        "continue": auth(CONTINUE, b"user"),
        "success": auth(0),
        "short": wire.auth(),
        "no method": wire.auth(AGAIN, []),
        "data alone": wire.auth(AGAIN, [(DATA, b"user")]),
    }
)
@pytest.mark.parametrize("switched_on", [False, True])
def test_auth_without_a_method_in_connect(dial, own_broker, unique, case, switched_on):
    """Who named no method in CONNECT sends no AUTH."""
    offender = dial(5, to=own_broker(SWITCHED_ON if switched_on else ""))
    offender.connect(unique("c"))
    offender.send(case)
    offender.expect_refused(PROTOCOL_ERROR)


@statement("MQTT-3.1.2-30", wrong=CLOSED)
@table(
    {
        "PUBLISH": lambda topic: wire.publish(topic, b"early", 5),
        "SUBSCRIBE": lambda topic: wire.subscribe(1, [(topic, 0)], 5),
        "PINGREQ": lambda topic: wire.pingreq(),
        "CONNECT": lambda topic: wire.connect("again", 5, props=named(b"user")),
    }
)
def test_other_packets_while_authenticating(begin, authenticated, unique, case):
    """Before CONNACK a client that authenticates sends AUTH or DISCONNECT, and nothing else."""
    witness, topic = authenticated(), unique("t")
    witness.subscribe((topic, 0))
    offender, _ = begin()
    offender.send(case(topic))
    offender.expect_unwelcome(PROTOCOL_ERROR)
    witness.send_publish(topic, b"later", qos=0)
    assert witness.expect(Kind.PUBLISH).payload == b"later"


@statement("MQTT-3.1.2-30", wrong="close-withheld")
def test_giving_up_while_authenticating(begin):
    """Before CONNACK a client may leave with DISCONNECT."""
    one, _ = begin()
    one.send(wire.disconnect())
    assert one.expect_closed() is None


@statement("MQTT-4.12.0-4", wrong="client-auth-answered-right")
def test_who_is_refused_takes_nothing_over(begin, authenticated):
    """The client id of a connection that fails to authenticate stays with whom it belongs to."""
    rightful = authenticated()
    offender, _ = begin(rightful.client_id)
    offender.send(auth(CONTINUE, b"12345678"))
    rightful.ping()
    offender.expect_refused(NOT_AUTHORIZED)
    rightful.ping()


@statement("MQTT-4.12.1-1", wrong=[*SAID, "client-auth-method-corrected"])
@table(OTHERWISE)
def test_authenticating_again_with_another_method(authenticated, case):
    """Later authentications are by the method of the CONNECT."""
    offender = authenticated()
    offender.send(wire.auth(AGAIN, case(b"user") or []))
    ending = offender.expect_closed()
    assert ending is not None and ending.code in (PROTOCOL_ERROR, BAD_METHOD)


@statement("MQTT-4.12.1-1", "U5-52", wrong=["connack-in-place-of-auth", "auth-dropped"])
def test_authenticating_again(authenticated):
    """A later authentication ends with AUTH and 0, may be repeated, and leaves the connection as it was."""
    one = authenticated()
    for _ in range(2):
        assert again(one).code == 0
        one.ping()


@statement("MQTT-4.12.1-1", wrong="auth-dropped")
def test_life_goes_on_while_authenticating_again(authenticated, unique):
    """Until a later authentication has ended, the earlier one counts."""
    one, topic = authenticated(), unique("t")
    one.subscribe((topic, 1))
    one.send(auth(AGAIN, b"user"))
    asked = challenge(one)
    one.send_publish(topic, b"meanwhile", qos=0)
    assert one.expect(Kind.PUBLISH).payload == b"meanwhile"
    one.send(auth(CONTINUE, asked[::-1]))
    assert one.expect(Kind.AUTH).code == 0


@statement("MQTT-4.12.1-2", wrong=[*SAID, "close-withheld", "client-auth-answered-right"])
def test_failing_to_authenticate_again(authenticated):
    """Who fails to authenticate again is told so by DISCONNECT, and the connection is closed."""
    offender = authenticated()
    offender.send(auth(AGAIN, b"user"))
    challenge(offender)
    offender.send(auth(CONTINUE, b"12345678"))
    ending = offender.expect_refused(NOT_AUTHORIZED)
    assert ending.kind == Kind.DISCONNECT


@statement("MQTT-4.12.1-2", "U5-44", wrong=[*SAID, "client-auth-method-corrected"])
def test_continuing_again_with_another_method(authenticated):
    """Also the second step of a later authentication names the method."""
    offender = authenticated()
    offender.send(auth(AGAIN, b"user"))
    asked = challenge(offender)
    offender.send(wire.auth(CONTINUE, [(METHOD, "OTHER"), (DATA, asked[::-1])]))
    ending = offender.expect_closed()
    assert ending is not None and ending.code in (PROTOCOL_ERROR, BAD_METHOD)


@statement("MQTT-3.15.2-1", wrong=SAID)
def test_continuing_what_has_not_begun(authenticated):
    """0x18 answers a challenge; without one it is a protocol error."""
    offender = authenticated()
    offender.send(auth(CONTINUE, b"12345678"))
    offender.expect_refused(PROTOCOL_ERROR)
