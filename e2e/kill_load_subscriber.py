"""A persistent session that judges each message and each packet id, over all kills."""

from collections import Counter
from pathlib import Path

import packets
from kill_load_clients import Client, Connection, Observer
from kill_load_plan import MORTALS, STREAMS, SUBSCRIPTIONS, WITNESSES, delivered_qos
from packets import Kind, Property

DUP = 8


class Subscriber(Client):
    """A persistent session that subscribes once, and judges each message."""

    def __init__(self, name: str, directory: Path, observer: Observer):
        self.subscription = SUBSCRIPTIONS[name]
        super().__init__(name, self.subscription.level, directory, observer)
        self.had: dict[str, set[int]] = {stream: set() for stream in STREAMS}
        self.newest = {stream: self.kept.settled.get(stream, 0) for stream in STREAMS}
        self.wills: Counter[tuple[str, int]] = Counter()
        self.count = 0
        for key, _ in self.kept.receipts:
            self._count_in(key)
        self.open_ids: set[int] = set()
        """Packet ids that came on this connection and are not free yet."""
        self.holds_from = 0
        """From so many packets on it acknowledges nothing; 0 is never."""
        self.held = bytearray()
        self.is_eager = False
        """Whether it acknowledges right behind the next CONNECT what came on the connection before."""

    def properties(self) -> dict:
        maximum = self.subscription.receive_maximum
        return super().properties() | ({Property.RECEIVE_MAXIMUM: maximum} if maximum else {})

    def open(self, address: tuple[str, int]) -> Connection:
        connection = super().open(address)
        self.open_ids.clear()
        if self.is_eager:
            self.say(bytes(self.held) or b"".join(map(packets.pubrec, self.kept.arriving)))
        self.held.clear()
        return connection

    def resume(self) -> None:
        if not self.kept.subscribed:
            self.say(packets.subscribe(1, list(self.subscription.filters), self.level))

    def subscribed(self, codes: tuple[int, ...]) -> None:
        wanted = tuple(qos for _, qos in self.subscription.filters)
        if codes != wanted:
            self.complain("refused", f"SUBACK {codes} instead of {wanted}")
        self.kept.subscribed = True
        self.store.note("subscribed")

    def message(self, first: int, body: bytes) -> None:
        at = 2 + int.from_bytes(body[:2], "big")
        topic = body[2:at].decode()
        qos = first >> 1 & 3
        packet_id = int.from_bytes(body[at : at + 2], "big") if qos else 0
        # A message of the plan has no properties.
        payload = body[at + 2 * (qos > 0) + (self.level == 5) :]
        name, number, _ = payload.split(b" ", 2)
        key = (name.decode(), int(number))
        if not self._is_planned(key, topic, qos, payload, first):
            self.complain("stranger", f"{key} at QoS {qos} on {topic}, first byte {first:02x}")
        if first & DUP:
            self.observer.figures["received with DUP"] += 1
        if packet_id in self.open_ids:
            self.complain("packet id", f"{packet_id} for {key} while it is in use on this connection")
        if qos:
            self.open_ids.add(packet_id)
        known = self.kept.arriving.get(packet_id)
        if qos == 2 and known == key:
            if not first & DUP:
                self.complain("packet id", f"{packet_id} for {key} again, and without DUP")
        elif known is not None and qos:
            # What a client does with such a message: at QoS 2 it takes it for the other one.
            self.complain("packet id", f"{packet_id} for {key}, and is not released from {known}")
        else:
            self._receive(key, qos)
            if qos == 2:
                self.kept.arriving[packet_id] = key
                self.store.note(f"take {packet_id} {key[0]} {key[1]}")
            else:
                self.store.note(f"message {key[0]} {key[1]}")
        if qos == 1:
            self._acknowledge(packets.puback(packet_id), packet_id)
        elif qos == 2:
            self._acknowledge(packets.pubrec(packet_id))

    def acknowledged(self, kind: int, packet_id: int, code: int) -> None:
        if kind != Kind.PUBREL or code:
            self.complain("packet id", f"{Kind(kind).name} {packet_id} with code {code:#x}")
            return
        if packet_id in self.kept.arriving:
            del self.kept.arriving[packet_id]
            self.kept.freed.add(packet_id)
            self.store.note(f"free {packet_id}")
        elif packet_id in self.kept.freed:
            self.observer.figures["PUBREL again"] += 1
        else:
            self.complain("packet id", f"PUBREL {packet_id}, which was never in use")
        self._acknowledge(packets.pubcomp(packet_id), packet_id)

    def acknowledge_again(self) -> None:
        """Goes on acknowledging, first what was held."""
        self.holds_from = 0
        self.open_ids.difference_update(self._held_ids())
        self.say(bytes(self.held))
        self.held.clear()

    def _held_ids(self) -> set[int]:
        # Each is four bytes: PUBACK and PUBCOMP free their packet id.
        heads = range(0, len(self.held), 4)
        free = (Kind.PUBACK << 4, Kind.PUBCOMP << 4)
        return {
            int.from_bytes(self.held[at + 2 : at + 4], "big") for at in heads if self.held[at] in free
        }

    def _acknowledge(self, data: bytes, frees: int = 0) -> None:
        if self.holds_from > 1:
            self.holds_from -= 1
        if self.holds_from == 1:
            self.held += data
            return
        self.open_ids.discard(frees)
        self.say(data)

    def _is_planned(self, key: tuple, topic: str, qos: int, payload: bytes, first: int) -> bool:
        name, number = key
        if name in MORTALS:
            mortal = MORTALS[name]
            is_heard = self.name in WITNESSES and 0 < number
            return is_heard and topic == mortal.topic and qos == mortal.qos and not first & 1
        if name not in STREAMS or first & 1:
            return False
        stream = STREAMS[name]
        is_same = topic == stream.topic_of(number) and payload == stream.payload_of(number)
        return is_same and qos == delivered_qos(self.name, key)

    def _receive(self, key: tuple[str, int], qos: int) -> None:
        name, number = key
        if name in MORTALS:
            self.wills[key] += 1
            return
        self.observer.figures[f"QoS {qos} delivered"] += 1
        if number in self.had[name] or number <= self.kept.settled.get(name, 0):
            if qos == 2:
                self.complain("doubled", f"{key} came again with QoS 2")
            self.observer.figures["QoS 1 doubles"] += qos == 1
        elif number < self.newest[name] and not self.subscription.group:
            self.complain("order", f"{key} came first after number {self.newest[name]}")
        self._count_in(key)

    def _count_in(self, key: tuple[str, int]) -> None:
        name, number = key
        if name in MORTALS:
            self.wills[key] += 1
        elif number > self.kept.settled.get(name, 0) and number not in self.had[name]:
            self.had[name].add(number)
            self.newest[name] = max(self.newest[name], number)
            self.count += 1
