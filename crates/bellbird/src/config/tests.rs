//! Files, environments and options, and what becomes of them.

use std::ffi::OsString;

use bellbird_codec::QoS;

use super::setting::{DefaultShown, Setting};
use super::tables::{AUTO_SUBSCRIPTIONS, LISTENERS, NODE, REWRITES, TERMS};
use super::value::Value;
use super::*;

fn load(
    text: &str,
    environment: &[(&str, &str)],
    options: &[(&'static str, &str)],
) -> Result<(Configuration, Vec<String>), ConfigError> {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("bellbird-config-{}-{number}.toml", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).unwrap();
    let outcome = Configuration::inspect(&Sources {
        file: Some(path.clone()),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        options: options.iter().map(|(key, value)| (*key, "--it", OsString::from(value))).collect(),
    });
    std::fs::remove_file(&path).unwrap();
    outcome.and_then(|(configuration, outcome)| Ok((configuration, outcome?)))
}

/// Line numbers and messages of all mistakes.
fn mistakes(text: &str) -> Vec<String> {
    let Err(ConfigError::Mistakes { mistakes, .. }) = load(text, &[], &[]) else {
        return Vec::new();
    };
    mistakes
        .iter()
        .map(|mistake| match &mistake.origin {
            Origin::File { line, .. } => format!("{line} {}", mistake.message),
            Origin::Environment(_) | Origin::Option(_) | Origin::Default => mistake.message.clone(),
        })
        .collect()
}

#[test]
fn mistakes_are_named() {
    let check = |text: &str, expected: &str| {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(expected), "{text}: {found:?}");
    };
    check("listenn = []", "1 there is no setting listenn: did you mean listen?");
    check("\n\nshards = \"two\"", "3 shards = \"two\" is a text: give a whole number from 1 to 64");
    check("shards = 0", "shards = 0 is out of range: give a whole number from 1 to 64");
    check("durability = \"maybe\"", "give one of \"synced\", \"written\", \"memory\"");
    check("listen = []", "listen is empty");
    check("listen = [\"nowhere\"]", "1 listen = [\"nowhere\"] is no address (\"nowhere\")");
    check("data = \"\"", "data = \"\" is empty");
    check("receive_max = 3", "did you mean limits.receive_max?");
    check("[limit]\nreceive_max = 3", "1 there is no setting limit: did you mean limits?");
    check("[limits]\ninflight_max = 70000", "2 limits.inflight_max = 70000 is out of range");
    check("[limits]\nreceive_max = 0", "limits.receive_max = 0");
    check("limits = 3", "1 limits is a table");
    check("[listeners]\naddress = \"127.0.0.1:1\"", "begin each with [[listeners]]");
    check("listeners = [3]", "begin each with [[listeners]]");
    check("[[listeners]]\n", "1 listeners[0] has no address");
    let unix = "[[listeners]]\nunix_path = \"/run/x\"\n";
    check(&format!("{unix}address = \"127.0.0.1:1\""), "2 listeners[0] has address and unix_path");
    check(&format!("{unix}unix_mode = \"rw\""), "3 listeners[0].unix_mode = \"rw\" is no mode");
    check(
        &format!("{unix}unix_group = \"no such group\""),
        "3 listeners[0].unix_group = \"no such group\": this machine has no group of this name",
    );
    check(
        &format!("listen_unix = \"/run/x\"\n{unix}"),
        "3 listeners[0].unix_path = \"/run/x\" cannot be listened on beside listen_unix",
    );
    check(&format!("{unix}allowed_networks = [\"unix\"]"), "has \"unix\" in it: who may connect");
    check(&format!("{unix}proxies = [\"10.0.0.1\"]"), "give [\"unix\"]");
    check(
        "[[listeners]]\naddress = \"127.0.0.1:1\"\nqos = 1",
        "3 there is no setting qos in [[listeners]]",
    );
    check(
        "[[listeners]]\naddress = \"127.0.0.1:1\"\nqueue_messages_max = 1",
        "3 there is no setting queue_messages_max in [[listeners]]: it is for the whole node: put it \
         under [limits]",
    );
    check("[limits]\nmax_inflight = 3", "did you mean limits.inflight_max?");
    check(
        "listen = [\"127.0.0.1:1\"]\n[[listeners]]\naddress = \"127.0.0.1:1\"",
        "3 listeners[0].address = \"127.0.0.1:1\" cannot be listened on beside listen",
    );
    check("[admin]\nlisten = \"127.0.0.1:1883\"", "2 admin.listen");
    check(
        "listen_websocket = [\"127.0.0.1:1883\"]",
        "1 listen_websocket = \"127.0.0.1:1883\" cannot be listened on beside listen",
    );
    let plain = "[[listeners]]\naddress = \"127.0.0.1:1\"\n";
    check(&format!("{plain}unix_mode = \"0600\""), "3 listeners[0].unix_mode means nothing");
    check(&format!("{plain}proxies = [\"unix\"]"), "that is for a listener with unix_path");
    check(&format!("{plain}proxies_say = \"proxy_protocol\""), "means nothing without proxies");
    check(&format!("{plain}denied_networks = [\"10.1.2.3/8\"]"), "that network is \"10.0.0.0/8\"");
    check(&format!("{plain}versions = []"), "3 listeners[0].versions = [] is empty");
    check(&format!("{plain}versions = [\"4\"]"), "has \"4\" in it, which is unknown: give some of");
    let proxies = "proxies = [\"10.0.0.1\"]\nproxies_say = \"x_forwarded_for\"";
    check(&format!("{plain}{proxies}"), "needs a request for a WebSocket");
    check(
        &format!("{plain}transport = \"websocket\"\n{proxies}\nproxied_clients = \"any\""),
        "6 listeners[0].proxied_clients means nothing",
    );
    let websocket = format!("{plain}transport = \"websocket\"\n");
    check(
        &format!("{plain}transport = \"websockets\""),
        "3 listeners[0].transport = \"websockets\"",
    );
    check(
        &format!("{plain}transport = \"ws\"\nwebsocket_path = \"/\""),
        "transport = \"ws\" is unknown",
    );
    check(&format!("{plain}websocket_path = \"/\""), "3 listeners[0].websocket_path means nothing");
    check(
        &format!("{plain}websocket_origins = []"),
        "3 listeners[0].websocket_origins means nothing",
    );
    check(&format!("{plain}websocket_pth = \"/\""), "did you mean websocket_path?");
    check(
        &format!("{websocket}websocket_path = \"mqtt\""),
        "4 listeners[0].websocket_path = \"mqtt\"",
    );
    check(&format!("{websocket}websocket_path = \"/a?b\""), "begin it with /");
    check(&format!("{websocket}websocket_path = \"/a b\""), "begin it with /");
    check(&format!("{websocket}websocket_origins = \"*\""), "is a text: give a list of texts");
    check(
        &format!("{websocket}websocket_origins = [\"*\", \"example.com\"]"),
        "4 listeners[0].websocket_origins has \"example.com\"",
    );
    check("[admin]\nlisten = \"10.0.0.1:80\"", "give a loopback address");
    check("[[rewrites]]\nfrom = \"a#\"\nto = \"b\"", "2 rewrites[0].from = \"a#\" is no filter");
    check("[[rewrites]]\nfrom = \"a/+\"\nto = \"b/$2\"", "3 rewrites[0].to = \"b/$2\" names $2");
    check("[[rewrites]]\nfrom = \"a\"", "1 this [[rewrites]] has no to");
    let by_topic = "[[topic_durability]]\nfilter = \"a\"";
    check(by_topic, "1 this [[topic_durability]] has no durability: give one of");
    let by_topic = "[[topic_durability]]\nfilter = \"a#\"\ndurability = \"memory\"";
    check(by_topic, "2 topic_durability[0].filter = \"a#\" is no filter");
    check("[[rewrites]]\nfrom = \"a/+\"\nto = \"b/+\"", "3 rewrites[0].to = \"b/+\" is no topic");
    check("[[auto_subscriptions]]\nfilter = \"a#\"", "2 auto_subscriptions[0].filter");
    check("[[auto_subscriptions]]\nfilter = \"$share/g/a\"\nno_local = true", "leave no_local out");
    check("shards = \n", "1 this is no TOML: shards has no value: give a whole number");
    check("[log]\nlevel = info", "2 this is no TOML: a text stands in quotes: level = \"info\"");
    check("shards = 1\nshards = 1", "2 this is no TOML: duplicate key shards: say it once");
    check(
        "port = 1883",
        "1 there is no setting port: that is Mosquitto's name for listen, or address",
    );
    check("[limits]\nmax_qos = 1", "there is no setting limits.max_qos: that is Mosquitto's name");
    check("persistence = true", "docs/from-mosquitto.md says what there is instead");
    check("listener 1883", "1 this is no TOML: that is Mosquitto's name for listen, or address");
    check("listen = [\"a\", \"127.0.0.1:1\", \"b\"]", "has 2 that are none (\"a\", \"b\")");
    let many: Vec<String> = (1..=257).map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    check(&format!("listen = [{}]", many.join(",")), "257 listeners are too many");
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_file() {
    let text = "shards = 99\nport = 1883\n[log]\nlevel = \"loud\"\n[limits]\nrecieve_max = 1\n\
                [[listeners]]\naddress = \"127.0.0.1:1\"\nqos_max = 3\n[broken\n";
    let lines: Vec<String> =
        mistakes(text).iter().map(|mistake| mistake.split(' ').next().unwrap().into()).collect();
    assert_eq!(lines, ["1", "2", "4", "6", "9", "10"]);
}

fn port(address: &Address) -> u16 {
    match address {
        Address::Ip(address) => address.port(),
        Address::Unix(_) => 0,
    }
}

#[test]
fn mistakes_of_other_sources_name_them() {
    let outcome = load("", &[("BELLBIRD_SHARDS", "many")], &[("listen", "here")]);
    let message = outcome.unwrap_err().to_string();
    assert_eq!(
        message,
        "2 mistakes in the configuration\n\
         environment, BELLBIRD_SHARDS: shards = many is no number: give a whole number from 1 to \
         64\n\
         command line, --it: listen = here is no address (\"here\"): give addresses and ports in \
         numbers with commas between them, such as 127.0.0.1:1883,[::1]:1883"
    );
}

#[test]
fn later_sources_win() {
    let text = "shards = 3\n[limits]\nreceive_max = 1\ninflight_max = 1\n\
                [[listeners]]\naddress = \"127.0.0.1:1\"\nreceive_max = 2\nqos_max = 1";
    let environment = [("BELLBIRD_SHARDS", "4"), ("BELLBIRD_LIMITS_INFLIGHT_MAX", "7")];
    let (configuration, warnings) = load(text, &environment, &[("shards", "5")]).unwrap();
    assert!(warnings.is_empty());
    let core = configuration.core();
    assert_eq!(core.shards, 5);
    let terms = &core.listeners[0];
    assert_eq!((terms.receive_max, terms.inflight_max), (2, 7));
    assert_eq!(terms.qos_max, QoS::AtLeastOnce);
    let (configuration, _) = load(text, &[], &[("listen", "127.0.0.1:2,127.0.0.1:3")]).unwrap();
    let terms: Vec<u16> =
        configuration.listeners.iter().map(|listener| listener.terms.receive_max).collect();
    assert_eq!(terms, [1, 1], "an option replaces both forms");
    let options = [("listen_websocket", "127.0.0.1:4")];
    let (configuration, _) = load(text, &[], &options).unwrap();
    let ports: Vec<u16> =
        configuration.listeners.iter().map(|listener| port(&listener.address)).collect();
    assert_eq!(ports, [4, 1], "but one of WebSocket stands beside");
}

#[test]
fn what_deserves_a_look_is_said() {
    let check = |text: &str, environment: &[(&str, &str)], expected: &str| {
        let (_, warnings) = load(text, environment, &[]).unwrap();
        let found = warnings.join("\n");
        assert_eq!(found.is_empty(), expected.is_empty(), "{found}");
        assert!(found.contains(expected), "{text}: {found}");
    };
    let outside = "[[listeners]]\naddress = \"0.0.0.0:1883\"\n";
    check("", &[], "");
    check("listen = [\"0.0.0.0:1883\"]", &[], "lets nobody in");
    check(outside, &[], "lets nobody in");
    check(&format!("{outside}anonymous = true"), &[], "lets everybody in");
    check(&format!("{outside}[access]\nusers = \"file\""), &[], "");
    let websocket = "[[listeners]]\naddress = \"127.0.0.1:1\"\ntransport = \"websocket\"\n";
    check("listen_websocket = [\"127.0.0.1:1\"]", &[], "lets every web page in");
    check(websocket, &[], "listeners[0].address = \"127.0.0.1:1\" lets every web page in");
    check(&format!("{websocket}anonymous = false"), &[], "lets nobody in");
    check("[access]\nanonymous = false", &[], "listen = \"127.0.0.1:1883\" lets nobody in");
    check("[access]\nanonymous = false\nusers = \"file\"", &[], "");
    check(&format!("{websocket}websocket_origins = [\"*\"]"), &[], "");
    check(&format!("{websocket}websocket_origins = [\"https://a.example\"]"), &[], "");
    check("", &[("BELLBIRD_LIMIT_RECEIVE_MAX", "1")], "did you mean BELLBIRD_LIMITS_RECEIVE_MAX?");
    check("", &[("BELLBIRD_BIN", "bellbird")], "");
    check("data = \"~/bb\"", &[], "data = \"~/bb\" is taken as it is written, and means /");
    check("data = \"a~\"", &[], "");
    let memory = "memory_bytes_max = 20_000_000\n";
    let is = "bounds nothing: all the memory that the broker may have is";
    for key in ["packet_bytes_max", "outbox_bytes_max", "queue_bytes_max"] {
        let text = format!("[limits]\n{memory}{key} = 20_000_001");
        check(
            &text,
            &[],
            &format!("limits.{key} = 20000001 {is} limits.memory_bytes_max = 20000000"),
        );
        check(&format!("[limits]\n{memory}{key} = 20_000_000"), &[], "");
    }
    let listener = "[[listeners]]\naddress = \"127.0.0.1:1\"\npacket_bytes_max = 30_000_000";
    check(
        &format!("[limits]\n{memory}{listener}"),
        &[],
        "listeners[0].packet_bytes_max = 30000000",
    );
    check(
        &format!("[limits]\n{memory}[store]\nsegment_bytes = 1_000_000"),
        &[],
        "limits.memory_bytes_max = 20000000): 625000 is in force",
    );
    check(&format!("[limits]\n{memory}[store]\nsegment_bytes = 100_000"), &[], "");
    check(&format!("[limits]\n{memory}"), &[], "");
}

/// Whoever misspelt a variable learns it together with the mistakes.
#[test]
fn what_nobody_reads_is_told_beside_mistakes() {
    let outcome = load("shards = 0", &[("BELLBIRD_LIMIT_RECEIVE_MAX", "1")], &[]);
    let told = outcome.unwrap_err().to_string();
    assert!(told.starts_with("1 mistake in the configuration\n"), "{told}");
    let warning = "\nwarning: the environment has BELLBIRD_LIMIT_RECEIVE_MAX, which is no setting: did \
                   you mean BELLBIRD_LIMITS_RECEIVE_MAX?";
    assert!(told.ends_with(warning), "{told}");
}

/// The parser takes the rest of the file for what stands in the list.
#[test]
fn a_bracket_that_is_missing_is_one_mistake() {
    let check = |text: &str, expected: &[&str]| {
        let found = mistakes(text);
        assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{text}: {found}");
        }
    };
    let rest = "data = \"x\"\nshards = 0\n[log]\nlevel = debug\n[[listeners]]\n";
    let list = "this is no TOML: what begins here has no end, [ needs its ]";
    check(&format!("\nlisten = [\"127.0.0.1:1\"\n{rest}"), &[&format!("2 {list}")]);
    check(
        &format!("durability = synced\nlisten = [\n\"127.0.0.1:1\",\n{rest}"),
        &["1 this is no TOML: a text stands in quotes", &format!("2 {list}")],
    );
    check("listen = [\"a\" \"b\"]", &["1 this is no TOML: missing comma"]);
    check("[limits\nreceive_max = 5", &["1 this is no TOML: unclosed table"]);
    check(
        "[limits\nreceive_max = 5\n[log]\nlevel = \"loud\"",
        &["1 this is no TOML: unclosed table", "4 log.level = \"loud\" is unknown"],
    );
    let table = "1 this is no TOML: what begins here has no end, { needs its }";
    check("limits = { receive_max = 1\nshards = 0", &[table]);
}

#[test]
fn everything_has_a_default() {
    let (configuration, outcome) = Configuration::inspect(&Sources::default()).unwrap();
    assert!(outcome.unwrap().is_empty());
    assert_eq!(configuration.listeners.len(), 1);
    assert!(configuration.listeners[0].address.is_local());
    assert!(configuration.listeners[0].terms.anonymous);
    let core = bellbird_core::Config {
        shards: configuration.core.shards,
        telling: Telling::Refusals,
        ..bellbird_core::Config::default()
    };
    assert_eq!(configuration.core(), core);
}

#[test]
fn defaults_are_in_range_and_fit_their_fields() {
    fn check<T>(settings: &[Setting<T>], mut target: T) {
        for setting in settings {
            let value = (setting.read)(&target);
            if value == Value::Nothing || setting.default == DefaultShown::Required {
                continue;
            }
            let text = format!("value = {value}");
            let document = toml::de::DeTable::parse(&text).unwrap();
            let again = setting.kind.of_toml(document.get_ref()["value"].get_ref());
            assert_eq!(again, Ok(value.clone()), "{}", setting.key);
            (setting.write)(&mut target, value.clone());
            assert_eq!((setting.read)(&target), value, "{}", setting.key);
            assert!(setting.meaning.ends_with(['.', ')']), "{}", setting.key);
        }
    }
    check(NODE, Configuration::default());
    check(TERMS, Terms::default());
    check(LISTENERS.settings, (LISTENERS.default)());
    check(REWRITES.settings, (REWRITES.default)());
    check(AUTO_SUBSCRIPTIONS.settings, (AUTO_SUBSCRIPTIONS.default)());
}

#[test]
fn reloads_take_what_may_change() {
    let check = |old: &str, new: &str, live: &[&str], waiting: &[&str]| {
        let (mut configuration, _) = load(old, &[], &[]).unwrap();
        let (newer, _) = load(new, &[], &[]).unwrap();
        let changes = configuration.reload(&newer);
        assert_eq!(changes.live, live, "{new}");
        assert_eq!(changes.waiting, waiting, "{new}");
        if waiting.is_empty() {
            assert_eq!(configuration.core(), newer.core(), "{new}");
        }
    };
    let one = "[[listeners]]\naddress = \"127.0.0.1:1\"\n";
    let two = "[[listeners]]\naddress = \"127.0.0.1:2\"\n";
    check("", "", &[], &[]);
    check("", "shards = 63\n[log]\nevents = true", &["log.events"], &["shards"]);
    check("", "[limits]\nqos_max = 1", &["limits.qos_max"], &[]);
    check(one, &format!("{one}qos_max = 1"), &["listeners[0].qos_max"], &[]);
    check(one, &format!("{one}anonymous = false"), &["listeners[0].anonymous"], &[]);
    check(one, &format!("{one}{two}"), &[], &["listeners"]);
    check(one, &format!("{one}transport = \"websocket\""), &[], &["listeners[0], its transport"]);
    check("", "listen_websocket = [\"[::1]:1\"]", &[], &["listen_websocket"]);
    check("", "listen = []\n[[listeners]]\naddress = \"[::1]:1\"", &[], &["listen"]);
    check("", "[[rewrites]]\nfrom = \"a\"\nto = \"b\"", &["rewrites"], &[]);
    let auto = "[[auto_subscriptions]]\nfilter = \"a\"";
    check("", auto, &["auto_subscriptions"], &[]);
    check("", "durability = \"memory\"", &["durability"], &[]);
    let durability = "durability = \"written\"\n";
    check(one, &format!("{one}{durability}"), &["listeners[0].durability"], &[]);
    let by_topic = format!("[[topic_durability]]\nfilter = \"a\"\n{durability}");
    check("", &by_topic, &["topic_durability"], &[]);
}

/// Users are required from the reload on, also where a listener waits for the next start to go.
#[test]
fn a_listener_that_is_gone_asks_for_users_like_the_others() {
    let (mut configuration, _) = load("listen = [\"127.0.0.1:1\"]", &[], &[]).unwrap();
    assert!(configuration.core().listeners[0].anonymous);
    let newer = "listen = [\"127.0.0.1:2\"]\n[access]\nusers = \"users\"";
    configuration.reload(&load(newer, &[], &[]).unwrap().0);
    assert!(!configuration.core().listeners[0].anonymous);
    let newer = "listen = [\"127.0.0.1:2\"]\n[access]\nusers = \"users\"\nanonymous = true";
    configuration.reload(&load(newer, &[], &[]).unwrap().0);
    assert!(configuration.core().listeners[0].anonymous);
}

#[test]
fn variables_that_look_like_settings_are_named() {
    for (given, meant) in [
        ("BELLBIRD_USERS", "BELLBIRD_ACCESS_USERS?"),
        ("BELLBIRD_ANONYMOUS", "BELLBIRD_ACCESS_ANONYMOUS?"),
        ("BELLBIRD_ACL", "BELLBIRD_ACCESS_ACL?"),
        ("BELLBIRD_PORT", "BELLBIRD_LISTEN?"),
        ("BELLBIRD_LISTENERS", "BELLBIRD_LISTEN?"),
        ("BELLBIRD_ADMIN", "BELLBIRD_ADMIN_LISTEN?"),
        ("BELLBIRD_SYS_INTERVAL", "BELLBIRD_SYS_INTERVAL_SECS?"),
        ("BELLBIRD_LEVEL", "BELLBIRD_LOG_LEVEL?"),
        ("BELLBIRD_RECEIVE_MAX", "BELLBIRD_LIMITS_RECEIVE_MAX?"),
        ("BELLBIRD_CONFIG", "only --config names a file"),
    ] {
        let (_, warnings) = load("", &[(given, "x")], &[]).unwrap();
        assert_eq!(warnings.len(), 1, "{given}: {warnings:?}");
        assert!(warnings[0].contains(given) && warnings[0].ends_with(meant), "{warnings:?}");
    }
    for given in ["BELLBIRD_PASSWORD", "BELLBIRD_BIN", "BELLBIRD_MAX"] {
        assert_eq!(load("", &[(given, "x")], &[]).unwrap().1, Vec::<String>::new(), "{given}");
    }
}

#[test]
fn an_empty_variable_is_told_without_quotes() {
    let failure = load("", &[("BELLBIRD_DATA", "")], &[]).unwrap_err().to_string();
    assert!(
        failure.ends_with("environment, BELLBIRD_DATA: data is empty: give a path"),
        "{failure}"
    );
}

#[test]
fn certificates_go_to_listeners_that_speak_the_same() {
    let listeners = |transports: &[(u16, &str)]| {
        let text: String = transports
            .iter()
            .map(|(port, transport)| {
                format!(
                    "[[listeners]]\naddress = \"127.0.0.1:{port}\"\ntransport = \"{transport}\"\n\
                     [listeners.tls]\ncertificates = \"c\"\nkeys = \"k\"\n"
                )
            })
            .collect();
        load(&text, &[], &[]).unwrap().0
    };
    let check = |newer: &[(u16, &str)], expected: [Option<usize>; 2]| {
        let running = listeners(&[(1, "tls"), (2, "websocket_tls")]);
        assert_eq!(running.counterparts(&listeners(newer)), expected, "{newer:?}");
    };
    check(&[(1, "tls"), (2, "websocket_tls")], [Some(0), Some(1)]);
    check(&[(2, "websocket_tls"), (1, "tls")], [Some(1), Some(0)]);
    check(&[(1, "websocket_tls"), (2, "websocket_tls")], [None, Some(1)]);
    check(&[(2, "websocket_tls")], [None, Some(0)]);
}
