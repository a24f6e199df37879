"""Fixtures of the conformance tests, and the plugin that runs and records them.

A normal run goes over each transport and notes which statements were tested.
`--wrong` runs each test once for each of its wrong doubles, where it must fail;
`--wrong-control` runs all through a relay that changes nothing, where they must pass as patiently.
"""

import itertools
import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import doubles_operation  # noqa: F401, registers its doubles
import doubles_publish  # noqa: F401, registers its doubles
import doubles_subscribe  # noqa: F401, registers its doubles
import doubles_topics  # noqa: F401, registers its doubles
import doubles_websocket  # noqa: F401, registers its doubles
import mqtt
import pytest
import registry
import transport as transports
import wire
from broker import Broker
from doubles import DOUBLES
from results import DOCUMENT, Results
from tls import Certificates
from websocket import WebSocket

HERE = Path(__file__).resolve().parent
SHORT_PATIENCE_SECS = 0.7
RESULTS = pytest.StashKey[Results]()
COMPLAINTS = pytest.StashKey[list[str]]()


def pytest_addoption(parser) -> None:
    """Declares the options."""
    group = parser.getgroup("conformance")
    group.addoption("--wrong", action="store_true", help="each test must fail with its wrong doubles")
    group.addoption("--all-transports", action="store_true", help="over each transport there is")
    group.addoption("--wrong-control", action="store_true", help="through a relay that changes nothing")
    group.addoption("--wrong-patience", type=float, default=SHORT_PATIENCE_SECS, metavar="SECS")
    group.addoption("--conformance-write", action="store_true", help="writes docs/conformance.md")
    group.addoption("--conformance-check", action="store_true", help="fails if a statement is untested")


def pytest_configure(config) -> None:
    """Declares the mark, and shortens the patience where each test has to fail."""
    config.addinivalue_line("markers", "statement(*ids, wrong): what a conformance test checks")
    config.stash[RESULTS] = Results()
    if _wrong(config) or _control(config):
        mqtt.PATIENCE_SECS = config.getoption("wrong_patience", SHORT_PATIENCE_SECS)


def pytest_generate_tests(metafunc) -> None:
    """Gives each test its levels and its transports."""
    marks = list(metafunc.definition.iter_markers("statement"))
    names = {name for mark in metafunc.definition.iter_markers("parametrize") for name in _names(mark)}
    if "level" in metafunc.fixturenames and "level" not in names:
        metafunc.parametrize("level", registry.levels(marks), ids="level={}".format)
    if "transport" in metafunc.fixturenames:
        ways = transports.ALL if metafunc.config.getoption("all_transports") else transports.NAMES
        if "websocket" in metafunc.fixturenames:
            ways = [way for way in ways if way.startswith("websocket")]
        if _wrong(metafunc.config):
            marks += _marks_of_parameters(metafunc)
            ways = [f"relay:{name}" for name in dict.fromkeys(_all_wrong(marks)) if name in DOUBLES]
        elif _control(metafunc.config):
            ways = ["relay:nothing"]
        metafunc.parametrize("transport", ways, indirect=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items) -> None:
    """Refuses unknown ids, and drops pairs of level and double that do not belong together."""
    ours = [item for item in items if HERE in item.path.parents]
    found = {
        f"{item.location[0]}::{item.originalname} {complaint}": None
        for item in ours
        for complaint in registry.complaints(list(item.iter_markers("statement")), DOUBLES)
    }
    if found:
        raise pytest.UsageError(*found)
    surplus = {item for item in ours if _wrong(config) and not _belongs(item)}
    if surplus:
        config.hook.pytest_deselected(items=list(surplus))
        items[:] = [item for item in items if item not in surplus]


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """With a wrong double, the test must fail by an assertion, and because of the double."""
    if HERE not in pyfuncitem.path.parents or not _wrong(pyfuncitem.config):
        return (yield)
    way = pyfuncitem.funcargs["transport"]
    try:
        yield
    except AssertionError as error:
        if not way.bites:
            raise RuntimeError(f"{way.name} changed nothing, and the test failed all the same") from error
        return True
    raise RuntimeError(f"asserts nothing: passes with {way.name}, which changed {way.bites} packets")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Puts the ids that the run speaks for into its report, which also travels between processes."""
    report = yield
    if HERE in item.path.parents and not _wrong(item.config) and not _control(item.config):
        level = _parameter(item, "level")
        ids = [i for mark in item.iter_markers("statement") for i in registry.credited(mark, level)]
        report.user_properties.append(("statements", sorted(set(ids))))
        report.user_properties.append(("transport", _parameter(item, "transport") or "tcp"))
        report.user_properties.append(("test", f"{item.path.name}::{item.originalname}"))
    return report


class Recorder:
    """Collects the reports, in the process that sees those of all workers."""

    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report) -> None:
        """Notes what a test has shown; a failed fixture counts against it too."""
        told = dict(report.user_properties)
        if "statements" in told and (report.when == "call" or report.failed):
            results = self.config.stash[RESULTS]
            results.note(told["statements"], told["transport"], told["test"], report.passed)

    def pytest_sessionfinish(self, session) -> None:
        """Writes the record and the document, or checks them."""
        results, found = self.config.stash[RESULTS], []
        if not results.outcomes:
            return
        results.write_record()
        wanted = [name for name in ("write", "check") if self._option(f"conformance_{name}")]
        if wanted and not self._complete():
            found.append("not a full run: no -k, -m, single files or tests")
        elif "write" in wanted:
            DOCUMENT.write_text(results.document())
        if "check" in wanted and not found:
            found += [f"{name} has no passing test" for name in results.missing()]
            if not DOCUMENT.exists() or DOCUMENT.read_text() != results.document():
                found.append("docs/conformance.md is not what --conformance-write would write")
        if found:
            self.config.stash[COMPLAINTS] = found
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter) -> None:
        """Says how many statements were tested, and what was found wrong."""
        results = self.config.stash[RESULTS]
        if results.outcomes:
            testable = [one for one in registry.statements().values() if one.testable == "yes"]
            tested = len(testable) - len(results.missing())
            terminalreporter.write_line(f"conformance: {tested} of {len(testable)} statements")
        for line in self.config.stash.get(COMPLAINTS, []):
            terminalreporter.write_line(f"conformance: {line}", red=True)

    def _option(self, name: str) -> bool:
        return self.config.getoption(name, False)

    def _complete(self) -> bool:
        options = self.config.option
        here = [Path(argument).resolve() for argument in self.config.args if "::" not in argument]
        whole = any(one == HERE or one in HERE.parents for one in here)
        return whole and not options.keyword and not options.markexpr


def pytest_sessionstart(session) -> None:
    """Starts recording, unless this is a worker."""
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(Recorder(session.config), "conformance-recorder")


def _wrong(config) -> bool:
    return config.getoption("wrong", False)


def _control(config) -> bool:
    return config.getoption("wrong_control", False)


def _names(mark) -> list[str]:
    return [name.strip() for name in mark.args[0].split(",")] if isinstance(mark.args[0], str) else mark.args[0]


def _marks_of_parameters(metafunc) -> list:
    """The marks that stand at single parameters of a table."""
    rows = [row for mark in metafunc.definition.iter_markers("parametrize") for row in mark.args[1]]
    return [mark for row in rows for mark in getattr(row, "marks", ()) if mark.name == "statement"]


def _all_wrong(marks) -> Iterator[str]:
    return (name for mark in marks for name in mark.kwargs["wrong"])


def _parameter(item, name: str):
    return getattr(item, "callspec", None) and item.callspec.params.get(name)


def _belongs(item) -> bool:
    """Whether a mark that counts at the item's level names the double of its transport."""
    level = _parameter(item, "level")
    marks = [mark for mark in item.iter_markers("statement") if registry.credited(mark, level)]
    return _parameter(item, "transport").removeprefix("relay:") in set(_all_wrong(marks))


NUMBERS = itertools.count(1)
CONTACT_SECS = 0.3
"""How often clients are in contact while time passes: well within a Keep Alive of a second."""


@pytest.fixture
def unique() -> Callable[..., str]:
    """Makes names that no other test uses: letters and digits, at most 23 with a short stem."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return lambda stem="n": f"{stem}{worker}x{next(NUMBERS)}"


@pytest.fixture
def level(request) -> int:
    """The protocol level: 5 for MQTT 5.0, 4 for 3.1.1, as far as the test's statements are in both."""
    return request.param


@pytest.fixture
def transport(request) -> Iterator[transports.Tcp]:
    """The way from the tests to the broker."""
    way = transports.named(request.param)
    yield way
    way.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Certificates:
    """Those of all brokers of one process."""
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def shared_broker(tmp_path_factory, certificates) -> Iterator[Broker]:
    """The broker that all tests of one process share, with its settings at their defaults."""
    broker = Broker(tmp_path_factory.mktemp("broker") / "data", shards=2)
    with broker.offer_unix().offer_websocket().offer_tls(certificates):
        yield broker


@pytest.fixture
def broker(shared_broker) -> Broker:
    """The shared broker, started again if an earlier test has brought it down."""
    if shared_broker.process is None or shared_broker.process.child.poll() is not None:
        shared_broker.kill()
        shared_broker.start()
    return shared_broker


@pytest.fixture
def own_broker(tmp_path, certificates) -> Iterator[Callable[..., Broker]]:
    """Starts brokers for one test, each with a configuration file of this text; may be restarted."""
    brokers: list[Broker] = []

    def start(configuration: str = "") -> Broker:
        folder = tmp_path / f"broker{len(brokers)}"
        folder.mkdir()
        file = folder / "bellbird.toml"
        file.write_text(configuration)
        own = Broker(folder / "data", shards=2).offer_unix().offer_websocket().offer_tls(certificates)
        own.arguments = [f"--config={file}"]
        brokers.append(own)
        own.start()
        return own

    yield start
    for own in brokers:
        own.close()
        print(own.log())


@pytest.fixture
def dial(request, broker, transport) -> Iterator[Callable[..., wire.Client]]:
    """Opens connections without CONNECT, at the test's level if not told, and closes them at the end."""
    clients: list[wire.Client] = []
    usual = _parameter(request.node, "level") or 5

    def open_one(level: int | None = None, *, to: Broker | None = None) -> wire.Client:
        clients.append(wire.Client(transport.open(to or broker), level or usual))
        return clients[-1]

    yield open_one
    for client in clients:
        client.close()


@pytest.fixture
def websocket(broker, transport) -> Iterator[Callable[[], WebSocket]]:
    """Opens WebSockets for which no upgrade was asked, and closes them at the end."""
    opened: list[WebSocket] = []

    def open_one() -> WebSocket:
        opened.append(transport.dial_websocket(broker))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def pass_secs(broker, unique) -> Callable[..., None]:
    """Lets whole seconds pass that a statement is about, by the clock of the shared broker.

    What is waited for is the will of a client that has just gone, delayed by so many seconds. The
    clients named are in contact meanwhile, and `meanwhile` is called as often. Wrong doubles are not
    in between.
    """

    def wait(secs: int, *busy: wire.Client, meanwhile: Callable[[], object] = lambda: None) -> None:
        topic, straight = unique("time"), transports.Tcp()
        bell, gone = (wire.Client(straight.open(broker), 5) for _ in range(2))
        bell.connect(unique("bell"))
        bell.subscribe((topic, 0))
        will = wire.Will(topic, props=[(wire.Property.WILL_DELAY, secs)])
        gone.connect(unique("gone"), props=[(wire.Property.SESSION_EXPIRY, secs + 60)], will=will)
        gone.close()
        late = time.monotonic() + secs + 15
        while not select.select([bell.socket], [], [], CONTACT_SECS)[0]:
            assert time.monotonic() < late, f"no will within 15 s after its {secs} s"
            meanwhile()
            for one in busy:
                one.ping()
        bell.expect(wire.Kind.PUBLISH)
        bell.close()
        for one in busy:
            one.ping()

    return wait


@pytest.fixture
def client(dial, unique) -> Callable[..., wire.Client]:
    """Opens a connection and introduces it with success; arguments as for `wire.connect`."""

    def open_one(client_id=None, level: int | None = None, *, to: Broker | None = None, **options):
        opened = dial(level, to=to)
        opened.connect(unique("c") if client_id is None else client_id, **options)
        return opened

    return open_one
