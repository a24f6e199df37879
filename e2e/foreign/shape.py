"""The shape that all foreign clients share: connect, subscribe, publish, receive, leave or drop.

`subscribe` returns when the subscription has been acknowledged, `publish` when the message has been
acknowledged or, at QoS 0, sent.
"""

import queue
import threading
from dataclasses import dataclass, field
from pathlib import Path

from broker import Broker

PATIENCE_SECS = 15.0
"""How long a wait may last before the test fails; generous, since it is only reached on failure."""

COMING_BACK_SECS = 0.05
"""How long clients wait before they connect again, where they do so by themselves."""

SESSION_EXPIRY_SECS = 3600
"""How long a session that is not clean outlives its connection in MQTT 5.0."""


@dataclass(frozen=True)
class Message:
    """A message, as a client is to send it or as it came."""

    topic: str
    payload: str
    qos: int = 0
    retain: bool = False
    content_type: str | None = None
    response_topic: str | None = None
    correlation: str | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    expiry_secs: int | None = None
    identifiers: tuple[int, ...] = ()
    alias: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Options:
    """How a client connects."""

    address: tuple[str, int] | str
    """A host and a port, or the path of a Unix socket."""
    level: int
    client_id: str
    clean: bool = True
    will: Message | None = None
    aliases_max: int = 0
    comes_back: bool = False
    inbox: queue.Queue | None = None
    authority: Path | None = None
    """Whom to trust, where the connection is encrypted."""

    @property
    def session_expiry_secs(self) -> int:
        """How long the session outlives the connection."""
        return 0 if self.clean else SESSION_EXPIRY_SECS


class Client:
    """A connected client. Subclasses say how; what they cannot do is missing from `able`."""

    name: str
    able: frozenset[str] = frozenset()
    levels_saying_will: frozenset[int] = frozenset()
    """Protocol versions in which the client, when it leaves, asks for its will to be said."""
    door: str = "address"
    """Which of the broker's addresses the client calls."""
    bounds_itself: bool = True
    """Whether messages wait in the client rather than exceed what the broker takes at once."""

    def __init__(self, options: Options):
        self.options = options
        self.level = options.level
        self.inbox: queue.Queue = options.inbox or queue.Queue()
        self.session_present: bool | None = None
        """Whether the broker had a session; None if the client does not tell."""
        self.gate = threading.Event()
        self.gate.set()

    def subscribe(self, pattern: str, qos: int, identifier: int | None = None) -> int:
        """Subscribes and returns the code of the SUBACK."""
        raise NotImplementedError

    def unsubscribe(self, pattern: str) -> None:
        """Unsubscribes."""
        raise NotImplementedError

    def publish(self, message: Message) -> None:
        """Publishes and waits until the message is acknowledged or, at QoS 0, sent."""
        raise NotImplementedError

    def publish_at_once(self, messages: list[Message]) -> None:
        """Hands out all messages of one topic before it waits for the first acknowledgement."""
        raise NotImplementedError

    def come_back(self) -> None:
        """Says that the broker is there again, to clients that are not to try before."""

    def leave(self) -> None:
        """Sends DISCONNECT and waits until the connection is down."""
        raise NotImplementedError

    def drop(self) -> None:
        """Closes the socket without a word."""
        raise NotImplementedError

    def close(self) -> None:
        """Frees what the client holds, in whatever state it is."""
        raise NotImplementedError

    def receive(self) -> Message:
        """The next message."""
        return self.receive_with_receiver()[1]

    def receive_with_receiver(self) -> tuple["Client", Message]:
        """The next message and who received it, where several clients share an inbox."""
        try:
            return self.inbox.get(timeout=PATIENCE_SECS)
        except queue.Empty:
            raise AssertionError(f"{self.name}: no message within {PATIENCE_SECS} s") from None

    def received(self, message: Message) -> None:
        """Puts a message into the inbox; called where the client reads, which a held one stops."""
        self.gate.wait()
        self.inbox.put((self, message))

    def hold(self) -> None:
        """Takes no message any more, so that the client stops to read."""
        self.gate.clear()

    def release(self) -> None:
        """Takes messages again."""
        self.gate.set()


@dataclass(frozen=True)
class Kind:
    """A client in one protocol version."""

    make: type[Client]
    level: int

    def __str__(self) -> str:
        return f"{self.make.name}-{ {3: '3.1', 4: '3.1.1', 5: '5'}[self.level]}"

    def able(self, what: str) -> bool:
        """Whether the client can do this."""
        return what in self.make.able

    def connect(self, broker: Broker, client_id: str, **options) -> Client:
        """A client that is connected."""
        address, authority = getattr(broker, self.make.door), broker.tls and broker.tls.authority
        return self.make(Options(address, self.level, client_id, authority=authority, **options))
