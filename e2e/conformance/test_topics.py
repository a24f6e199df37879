"""Section 4.7: topic names, topic filters, and which match which."""

import pytest
import wire
from operation import table
from registry import statement
from wire import MALFORMED, Kind

TOPIC_NAME_INVALID, TOPIC_FILTER_INVALID = 0x90, 0x8F


def refused_filter(one: wire.Client, data: bytes) -> None:
    """The answer to a SUBSCRIBE that breaks the rules of filters: a failure for it, or the end."""
    one.send(data)
    answer = one.receive()
    if answer.kind == Kind.SUBACK:
        assert answer.codes == ((TOPIC_FILTER_INVALID,) if one.level == 5 else (0x80,))
        one.ping()
    else:
        assert one.level == 5 and answer.kind == Kind.DISCONNECT
        assert answer.code in (MALFORMED, TOPIC_FILTER_INVALID)
        assert one.expect_closed() is None


def refuses(one: wire.Client, data: bytes) -> None:
    """As above; without a word before 5.0."""
    try:
        refused_filter(one, data)
    except wire.mqtt.Closed:
        assert one.level < 5, "closed without a reason"


def matches(one: wire.Client, wanted: str, topic: str, sentinel: str) -> bool:
    """Whether a message to the topic comes by the filter; one to the sentinel comes in any case."""
    one.subscribe((wanted, 0), (sentinel, 0))
    one.send_publish(topic, b"probe", qos=0)
    one.send_publish(sentinel, b"sentinel", qos=0)
    seen = [one.expect(Kind.PUBLISH).payload]
    while b"sentinel" not in seen:
        seen.append(one.expect(Kind.PUBLISH).payload)
    one.ping()
    return b"probe" in seen


@statement("MQTT-4.7.0-1", wrong=["close-hidden", "disconnect-reason-generic"])
@statement("MQTT311-4.7.1-1", wrong="close-hidden")
@pytest.mark.parametrize("topic", ["t/+", "t/#", "+", "#", "t+", "a#b", "a/+/b"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_wildcards_in_a_name(client, level, topic, qos):
    """A name has no wildcards."""
    offender = client()
    offender.send_publish(topic, b"", qos=qos)
    offender.expect_refused(TOPIC_NAME_INVALID)


HASHES = ["a#", "a/#/b", "#/a", "a/b#", "##", "a/##", "#+"]
PLUSES = ["a+", "+a", "a/b+", "a/+b/c", "++", "a/++/b", "+#"]


@statement("MQTT-4.7.1-1", wrong="subscribe-never-refused")
@statement("MQTT311-4.7.1-2", wrong="subscribe-never-refused")
@pytest.mark.parametrize("wanted", HASHES)
def test_misplaced_multi_level_wildcards(client, level, wanted):
    """# stands alone or behind a slash, and at the end."""
    offender = client()
    refuses(offender, wire.subscribe(1, [(wanted, 0)], level))


@statement("MQTT-4.7.1-2", wrong="subscribe-never-refused")
@statement("MQTT311-4.7.1-3", wrong="subscribe-never-refused")
@pytest.mark.parametrize("wanted", PLUSES)
def test_misplaced_single_level_wildcards(client, level, wanted):
    """+ is a whole level."""
    offender = client()
    refuses(offender, wire.subscribe(1, [(wanted, 0)], level))


MULTI = {
    "the level itself": ("/#", "", True),
    "one level below": ("/#", "/a", True),
    "more levels below": ("/#", "/a/b/c", True),
    "an empty level below": ("/#", "/", True),
    "another name that begins so": ("/#", "x", False),
    "behind a level": ("/a/#", "/b", False),
    "behind a wildcard": ("/+/#", "/a/b", True),
    "behind a wildcard, one level": ("/+/#", "/a", True),
    "behind a wildcard, nothing there": ("/+/#", "", False),
}
SINGLE = {
    "one level": ("/+", "/a", True),
    "an empty level": ("/+", "/", True),
    "no level": ("/+", "", False),
    "two levels": ("/+", "/a/b", False),
    "in the middle": ("/+/b", "/a/b", True),
    "in the middle, another end": ("/+/b", "/a/c", False),
    "two of them": ("/+/+", "/a/b", True),
    "two of them, one level": ("/+/+", "/a", False),
    "with a slash at the end": ("/+", "/a/", False),
}


@statement("MQTT-4.7.1-1", wrong=["wildcards-swapped", "publish-dropped"])
@statement("MQTT311-4.7.1-2", wrong=["wildcards-swapped", "publish-dropped"])
def test_multi_level_wildcards(client, unique, level):
    """# stands for its parent and any number of levels below."""
    found = {}
    for what, (wanted, name, _) in MULTI.items():
        stem = unique("t")
        found[what] = matches(client(), stem + wanted, stem + name, unique("s"))
    assert found == {what: row[2] for what, row in MULTI.items()}


@statement("MQTT-4.7.1-2", wrong=["wildcards-swapped", "publish-dropped"])
@statement("MQTT311-4.7.1-3", wrong=["wildcards-swapped", "publish-dropped"])
def test_single_level_wildcards(client, unique, level):
    """+ stands for one level, whatever is in it."""
    found = {}
    for what, (wanted, name, _) in SINGLE.items():
        stem = unique("t")
        found[what] = matches(client(), stem + wanted, stem + name, unique("s"))
    assert found == {what: row[2] for what, row in SINGLE.items()}


@statement("MQTT-4.7.1-2", wrong="wildcards-swapped")
@statement("MQTT311-4.7.1-3", wrong="wildcards-swapped")
def test_wildcards_at_the_start(client, unique, level):
    """A slash at the start divides two levels, the first of them empty."""
    rows = {("+", "{}"): True, ("+/+", "/{}"): True, ("/+", "/{}"): True, ("+", "/{}"): False}
    sentinel = unique("s") + "/a/b"
    found = {
        (wanted, name): matches(client(), wanted, name.format(unique("t")), sentinel) for wanted, name in rows
    }
    assert found == rows


@statement("MQTT-4.7.2-1", "H-37", wrong="dollar-ordinary")
@statement("MQTT311-4.7.2-1", wrong="dollar-ordinary")
@pytest.mark.parametrize("wanted", ["#", "+/{0}", "+/#", "+/+"])
def test_wildcards_do_not_match_dollar(client, unique, level, wanted):
    """A filter that begins with a wildcard does not match a name that begins with $."""
    one, other, name = client(), client(), unique("t")
    one.subscribe((wanted.format(name), 0))
    # A broker may refuse such names, which is as good here; 3.1.1 can only close.
    other.send_publish(f"$own/{name}", b"hidden", qos=1)
    try:
        answer = other.receive()
        assert answer.kind in (Kind.PUBACK, Kind.DISCONNECT)
    except wire.mqtt.Closed:
        pass
    client().publish(f"own/{name}", b"seen", qos=1)
    while (message := one.expect(Kind.PUBLISH)).topic != f"own/{name}":
        # With so wide a filter, messages of other tests come as well.
        assert not message.topic.startswith("$")


@statement("MQTT-4.7.3-1", wrong="subscribe-never-refused")
@statement("MQTT311-4.7.3-1", wrong="subscribe-never-refused")
def test_empty_filters(client, level):
    """A filter has at least one character."""
    refuses(client(), wire.subscribe(1, [("", 0)], level))


@statement("MQTT-4.7.3-1", "U5-27", wrong=["close-hidden", "disconnect-reason-generic"])
@statement("MQTT311-4.7.3-1", wrong="close-hidden")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_empty_names(client, level, qos):
    """A name has at least one character; in 5.0 without a Topic Alias that is a protocol error."""
    offender = client()
    offender.send_publish("", b"", qos=qos)
    offender.expect_refused(0x82)


@statement("MQTT-4.7.3-1", wrong=["publish-dropped", "publish-topic-changed"])
@statement("MQTT311-4.7.3-1", wrong=["publish-dropped", "publish-topic-changed"])
def test_a_slash_is_a_name(client, unique, level):
    """One character is enough, also if it is a slash; spaces are characters as well."""
    one, stem = client(), unique("t")
    for topic in ("/", " ", stem, f" {stem} /", f"/{stem}"):
        one.subscribe((topic, 0))
        one.send_publish(topic, stem.encode(), qos=0)
        message = one.expect(Kind.PUBLISH)
        assert (message.topic, message.payload) == (topic, stem.encode())
        one.unsubscribe(topic)


@statement("MQTT-4.7.3-2", wrong=["close-hidden", "disconnect-reason-generic"])
@statement("MQTT311-4.7.3-2", wrong="close-hidden")
@table(
    {
        "name": lambda level: wire.publish("a\0b", b"", level),
        "only NUL": lambda level: wire.publish("\0", b"", level),
        "filter": lambda level: wire.subscribe(1, [("a/\0", 0)], level),
        "filter to leave": lambda level: wire.unsubscribe(1, ["a\0/#"], level),
    }
)
def test_nul_in_names_and_filters(client, level, case):
    """Names and filters are strings without U+0000."""
    offender = client()
    offender.send(case(level))
    offender.expect_refused(MALFORMED)


@statement("MQTT-4.7.3-3", wrong="publish-topic-cut")
@statement("MQTT311-4.7.3-3", wrong="publish-topic-cut")
@pytest.mark.parametrize("letter", ["a", "\u20ac"])
def test_the_longest_name(client, unique, level, letter):
    """A name may take 65,535 bytes, and then it is whole; it may also be refused, but not cut."""
    one, topic = client(), unique("t")
    topic += letter * ((65535 - len(topic)) // len(letter.encode()))
    topic += "b" * (65535 - len(topic.encode()))
    if one.subscribe((topic, 0)).codes == (0,):
        one.send_publish(topic, b"long", qos=0)
        assert one.expect(Kind.PUBLISH).topic == topic


OTHERS = {
    "case": ("accounts", "ACCOUNTS"),
    "a slash in front": ("finance", "/finance"),
    "a slash at the end": ("finance", "finance/"),
    "a space": ("a b", "a  b"),
    "an escape": ("a b", "a%20b"),
    "dots": ("a/../b", "b"),
    "double slash": ("a//b", "a/b"),
}


@statement("MQTT-4.7.3-4", wrong="topic-normalised")
@statement("MQTT311-4.7.3-4", wrong="topic-normalised")
@table({"composed": ("\u00c5", "A\u030a"), "the ohm sign": ("\u03a9", "\u2126")})
def test_no_normalisation(client, unique, level, case):
    """Characters that look the same are different ones where their code points differ."""
    stem = unique("t")
    assert not matches(client(), stem + case[0], stem + case[1], unique("s"))


@statement("MQTT-4.7.3-4", wrong="topic-without-form")
@statement("MQTT311-4.7.3-4", wrong="topic-without-form")
@pytest.mark.parametrize("swapped", [False, True])
@table(OTHERS)
def test_no_substitution(client, unique, level, case, swapped):
    """A filter without wildcards matches its own characters and no other ones."""
    wanted, name = case[::-1] if swapped else case
    stem = unique("t")
    assert not matches(client(), f"{stem}/{wanted}", f"{stem}/{name}", unique("s"))


@statement("U5-47", wrong="dollar-ordinary")
@pytest.mark.parametrize("name", ["$own/{}", "$SYS/{}", "$S/{}"])
def test_no_messages_through_dollar(client, unique, name):
    """Clients should not be able to exchange messages through names that begin with $."""
    one, other, topic = client(), client(), unique("t")
    one.send(wire.subscribe(1, [(name.format(topic), 1), (topic, 1)], 5))
    assert one.expect(Kind.SUBACK).codes[1] == 1
    other.send_publish(name.format(topic), b"hidden", qos=1)
    try:
        assert other.receive().kind in (Kind.PUBACK, Kind.DISCONNECT)
    except wire.mqtt.Closed:
        pass
    client().publish(topic, b"seen", qos=1)
    assert one.expect(Kind.PUBLISH).payload == b"seen"
