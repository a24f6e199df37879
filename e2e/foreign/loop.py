"""aiomqtt and gmqtt, on an event loop that runs in a thread of its own."""

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Coroutine

import aiomqtt
import gmqtt
from gmqtt.mqtt.constants import UNLIMITED_RECONNECTS
from gmqtt.storage import PersistentStorage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from foreign.paho import message_of, properties_of
from foreign.shape import COMING_BACK_SECS, PATIENCE_SECS, Client, Message, Options


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="event loop", daemon=True).start()
    return loop


def _run(coroutine: Coroutine):
    """Runs a coroutine on the loop and waits for its result."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result(PATIENCE_SECS)
    except TimeoutError:
        future.cancel()
        raise AssertionError(f"{coroutine.__qualname__} took more than {PATIENCE_SECS} s") from None


class Aiomqtt(Client):
    """aiomqtt."""

    name = "aiomqtt"
    able = frozenset({"unsubscribe", "alias out", "repeated user properties"})

    def __init__(self, options: Options):
        super().__init__(options)
        _run(self._connect())

    def subscribe(self, pattern: str, qos: int, identifier: int | None = None) -> int:
        properties = None
        if identifier is not None:
            properties = Properties(PacketTypes.SUBSCRIBE)
            properties.SubscriptionIdentifier = identifier
        granted = _run(self.client.subscribe(pattern, qos, properties=properties))[0]
        return getattr(granted, "value", granted)

    def unsubscribe(self, pattern: str) -> None:
        _run(self.client.unsubscribe(pattern))

    def publish(self, message: Message) -> None:
        _run(self._publish(message))

    def publish_at_once(self, messages: list[Message]) -> None:
        _run(self._publish_at_once(messages))

    def leave(self) -> None:
        _run(self._leave())

    def drop(self) -> None:
        _run(self._drop())

    def close(self) -> None:
        _run(self._drop())

    async def _connect(self) -> None:
        level, clean, will = self.level, self.options.clean, self.options.will
        session = {"clean_session": clean}
        if level == 5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = self.options.session_expiry_secs
            session = {"clean_start": clean, "properties": properties}
        if will:
            properties = properties_of(will, PacketTypes.WILLMESSAGE) if level == 5 else None
            session["will"] = aiomqtt.Will(
                will.topic, will.payload, will.qos, will.retain, properties
            )
        host, port = self.options.address
        self.client = aiomqtt.Client(
            host,
            port,
            identifier=self.options.client_id,
            protocol=aiomqtt.ProtocolVersion(level),
            **session,
        )
        await self.client.__aenter__()
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        # The iterator ends with an error when the connection does.
        with contextlib.suppress(aiomqtt.MqttError):
            async for message in self.client.messages:
                self.received(message_of(message))

    async def _publish(self, message: Message) -> None:
        properties = properties_of(message, PacketTypes.PUBLISH) if self.level == 5 else None
        parts = message.topic, message.payload, message.qos, message.retain, properties
        await self.client.publish(*parts)

    async def _publish_at_once(self, messages: list[Message]) -> None:
        await asyncio.gather(*map(self._publish, messages))

    async def _leave(self) -> None:
        await self.client.__aexit__(None, None, None)
        await self.reader

    async def _drop(self) -> None:
        # aiomqtt offers no other way to its socket.
        if connection := self.client._client.socket():
            connection.shutdown(socket.SHUT_RDWR)
        await self.reader


class Gmqtt(Client):
    """gmqtt, which shares no code with paho."""

    name = "gmqtt"
    # It hands out a message of QoS 2 whenever it comes, and so cannot "receive once".
    bounds_itself = False
    able = frozenset({"come back", "unsubscribe", "alias out", "alias in", "repeated user properties"})

    def __init__(self, options: Options):
        super().__init__(options)
        _run(self._connect())

    def subscribe(self, pattern: str, qos: int, identifier: int | None = None) -> int:
        return _run(self._subscribe(pattern, qos, identifier))[0]

    def unsubscribe(self, pattern: str) -> None:
        _run(self._unsubscribe(pattern))

    def publish(self, message: Message) -> None:
        self.publish_at_once([message])

    def publish_at_once(self, messages: list[Message]) -> None:
        _run(self._publish(messages))

    def leave(self) -> None:
        _run(self.client.disconnect())

    def drop(self) -> None:
        _run(self._drop())

    def close(self) -> None:
        _run(self._drop())

    async def _connect(self) -> None:
        options, will, properties = self.options, None, {}
        if options.will:
            parts = options.will.topic, options.will.payload, options.will.qos, options.will.retain
            will = gmqtt.Message(*parts, **self._properties(options.will))
        if self.level == 5:
            properties["session_expiry_interval"] = options.session_expiry_secs
            properties["topic_alias_maximum"] = options.aliases_max
        self.storage = PersistentStorage()
        self.acknowledged: asyncio.Queue = asyncio.Queue()
        self.client = gmqtt.Client(
            options.client_id,
            clean_session=options.clean,
            will_message=will,
            persistent_storage=self.storage,
            **properties,
        )
        # Not 0 for never, with which it takes its session back once from whoever took it over.
        retries = UNLIMITED_RECONNECTS if options.comes_back else UNLIMITED_RECONNECTS - 1
        self.client.set_config({"reconnect_retries": retries, "reconnect_delay": COMING_BACK_SECS})
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *event: self.acknowledged.put_nowait(event[2])
        self.client.on_unsubscribe = lambda *event: self.acknowledged.put_nowait(event[2])
        await self.client.connect(*options.address, version=self.level)

    def _on_connect(self, _client, flags, _code, _properties) -> None:
        self.session_present = bool(flags)

    def _on_message(self, _client, topic, payload, qos, properties) -> int:
        def one(name: str):
            return properties.get(name, [None])[0]

        correlation = one("correlation_data")
        self.received(
            Message(
                topic,
                payload.decode(),
                qos,
                bool(properties["retain"]),
                one("content_type"),
                one("response_topic"),
                correlation and bytes(correlation).decode(),
                tuple(tuple(pair) for pair in properties.get("user_property", ())),
                one("message_expiry_interval"),
                tuple(properties.get("subscription_identifier", ())),
            )
        )
        return 0

    async def _subscribe(self, pattern: str, qos: int, identifier: int | None) -> list[int]:
        if identifier is None:
            self.client.subscribe(pattern, qos)
        else:
            self.client.subscribe(pattern, qos, subscription_identifier=identifier)
        return await self.acknowledged.get()

    async def _unsubscribe(self, pattern: str) -> None:
        self.client.unsubscribe(pattern)
        await self.acknowledged.get()

    async def _publish(self, messages: list[Message]) -> None:
        for message in messages:
            parts = message.topic, message.payload, message.qos, message.retain
            self.client.publish(*parts, **self._properties(message))
        await self.storage.wait_empty()

    async def _drop(self) -> None:
        # gmqtt offers no other way to its socket.
        self.client._is_active = False
        self.client._connection._keep_connection_callback.cancel()
        self.client._connection._transport.abort()

    def _properties(self, message: Message) -> dict:
        if self.level < 5:
            return {}
        properties = {
            "content_type": message.content_type,
            "response_topic": message.response_topic,
            "correlation_data": message.correlation and message.correlation.encode(),
            "user_property": list(message.user_properties) or None,
            "message_expiry_interval": message.expiry_secs,
            "topic_alias": message.alias,
        }
        return {name: value for name, value in properties.items() if value is not None}
