//! Values that are right one by one and impossible together.

use std::net::SocketAddr;

use bellbird_server::websocket::Offer as WebSocketOffer;
use bellbird_server::{Address, Demand, Forwarding, Network};
use bellbird_topics::{Filter, SubscriptionFilter};

use super::mistake::{Mistake, Origin};
use super::reading::Reading;
use super::setting::Named;
use super::tables::{
    AUTO_SUBSCRIPTIONS, ENCRYPTION, LIMITS, LISTENERS, REWRITES, TLS, TOPIC_DURABILITY,
};
use super::{ADDRESS, Configuration, Listening, Offer, UNIX_PATH};
use crate::count::Count;

/// Adds what is wrong to the mistakes, and what deserves a look to the warnings.
pub(crate) fn check(configuration: &Configuration, reading: &mut Reading) {
    listeners(configuration, reading);
    admin(configuration, reading);
    rewrites(configuration, reading);
    auto_subscriptions(configuration, reading);
    memory(configuration, reading);
    home(configuration, reading);
    topic_durability(configuration, reading);
}

fn listeners(configuration: &Configuration, reading: &mut Reading) {
    let listening = &configuration.listeners;
    if listening.is_empty() && configuration.offers.is_empty() {
        let message = "listen is empty, so nobody could connect: give at least one address, for \
                       example listen = [\"127.0.0.1:1883\"]";
        mistake(reading, "listen", message.into());
    }
    if let Some(surplus) = listening.get(LISTENERS_MAX) {
        let number = listening.len();
        let message = format!("{number} listeners are too many: give at most {LISTENERS_MAX}");
        mistake(reading, &surplus.key, message);
    }
    for (index, listener) in listening.iter().enumerate() {
        let (key, address) = (&listener.key, &listener.address);
        let is_taken = |other: &&Listening| collide(&other.address, address);
        if let Some(other) = listening[..index].iter().find(is_taken) {
            let another = if matches!(address, Address::Ip(_)) { "port" } else { "path" };
            let message = format!(
                "{key} = \"{address}\" cannot be listened on beside {} = \"{}\": choose another \
                 {another}",
                other.key, other.address
            );
            mistake(reading, key, message);
        }
        warn_of_strangers(configuration, listener, reading);
        warn_of_pages(listener, reading);
    }
    for (index, offer) in configuration.offers.iter().enumerate() {
        let place = format!("{}[{index}]", LISTENERS.name);
        place_of(&place, offer, reading);
        admission(&place, offer, reading);
        websocket(&place, offer, reading);
        tls_unused(&place, offer, reading);
    }
    tls(configuration, reading);
}

/// What encrypted listeners need.
fn tls(configuration: &Configuration, reading: &mut Reading) {
    let encrypted = || configuration.listeners.iter().filter(|it| it.transport.is_encrypted);
    let mut judged = Vec::new();
    for listener in encrypted() {
        let own = format!("{}.{ENCRYPTION}", listener.place().unwrap_or_default());
        let own = Some(own).filter(|own| reading.origins.keys().any(|key| key.starts_with(own)));
        let table = own.as_deref().unwrap_or(ENCRYPTION);
        // What is said once is wrong once.
        if judged.iter().any(|known| known == table) {
            continue;
        }
        judged.push(table.to_owned());
        let (certificates, keys) = (listener.tls.certificates.len(), listener.tls.keys.len());
        if certificates == 0 {
            let message = format!(
                "{} = \"{}\" is to be encrypted and has no certificate: name it and its key with \
                 certificates and keys in [tls], or with --tls-certificate and --tls-key",
                listener.key, listener.address
            );
            mistake(reading, &listener.key, message);
        } else if certificates != keys {
            let key = format!("{table}.certificates");
            let message = format!(
                "{table} has {} and {}: give one key for each certificate, in the same order",
                Count(certificates as u64, "certificate", "certificates"),
                Count(keys as u64, "key", "keys")
            );
            mistake(reading, &key, message);
        }
    }
    clients(configuration, reading);
    let is_given = TLS.iter().any(|it| reading.origins.contains_key(&format!("tls.{}", it.key)));
    if is_given && encrypted().next().is_none() {
        reading.warnings.push(
            "[tls] means nothing, for no listener is encrypted: name an address with --listen-tls \
             or listen_tls, or say transport = \"tls\" in [[listeners]]"
                .into(),
        );
    }
}

/// Whether what is said of clients' certificates fits together.
fn clients(configuration: &Configuration, reading: &mut Reading) {
    let encrypted = || configuration.listeners.iter().filter(|it| it.transport.is_encrypted);
    let mut messages = Vec::new();
    let idle = |table: &str, reading: &Reading| -> Vec<(String, String)> {
        let keys = ["client_authorities", "client_crls", "user_name_from", "client_id_from"];
        let keys = keys.iter().map(|name| format!("{table}.{name}"));
        let given = keys.filter(|key| reading.origins.contains_key(key));
        given
            .map(|key| {
                let message = format!(
                    "{key} means nothing, for clients are not asked for certificates: say \
                     client_certificates = \"required\" or \"optional\" beside it"
                );
                (key, message)
            })
            .collect()
    };
    for listener in encrypted() {
        let own = listener.place().map(|own| format!("{own}.{ENCRYPTION}"));
        let demand = listener.tls.clients.demand;
        if demand == Demand::None {
            // What all listeners are told may be for others of them.
            messages.extend(own.iter().flat_map(|own| idle(own, reading)));
        } else if listener.tls.clients.authorities.is_empty() {
            let name = |table: &str| format!("{table}.client_certificates");
            let key = own.map(|own| name(&own)).filter(|key| reading.origins.contains_key(key));
            let key = key.unwrap_or_else(|| name(ENCRYPTION));
            let message = format!(
                "{key} = \"{}\" needs somebody who makes certificates: name the file of the \
                 authority with client_authorities beside it",
                demand.name()
            );
            messages.push((key, message));
        }
    }
    if encrypted().next().is_some() && encrypted().all(|it| it.tls.clients.demand == Demand::None) {
        messages.extend(idle(ENCRYPTION, reading));
    }
    for (key, message) in messages {
        // What is said once for several listeners is wrong once.
        if !reading.mistakes.iter().any(|known| known.message == message) {
            mistake(reading, &key, message);
        }
    }
}

/// Where it is called.
fn place_of(place: &str, offer: &Offer, reading: &mut Reading) {
    let has =
        |name: &str, reading: &Reading| reading.origins.contains_key(&format!("{place}.{name}"));
    match (has(ADDRESS, reading), has(UNIX_PATH, reading)) {
        (false, false) => {
            let message = format!(
                "{place} has no address: give {ADDRESS} = \"127.0.0.1:1883\", or {UNIX_PATH} for \
                 a Unix socket"
            );
            mistake(reading, place, message);
        }
        (true, true) => {
            let message = format!(
                "{place} has {ADDRESS} and {UNIX_PATH}: each place to listen is a [[{}]] of its own",
                LISTENERS.name
            );
            mistake(reading, &format!("{place}.{UNIX_PATH}"), message);
        }
        (true, false) | (false, true) => {}
    }
    if !has(UNIX_PATH, reading) {
        for name in ["unix_mode", "unix_owner", "unix_group"] {
            if has(name, reading) {
                let key = format!("{place}.{name}");
                let message = format!(
                    "{key} means nothing, for the listener is no Unix socket: give {UNIX_PATH}, or \
                     leave this out"
                );
                mistake(reading, &key, message);
            }
        }
    }
    for (name, value, what) in offer.rights.wrong() {
        let key = format!("{place}.{name}");
        let message = format!("{key} = \"{value}\": this machine has no {what} of this name");
        mistake(reading, &key, message);
    }
}

/// Who may come, and what stands in front.
fn admission(place: &str, offer: &Offer, reading: &mut Reading) {
    let admission = &offer.admission;
    let has =
        |name: &str, reading: &Reading| reading.origins.contains_key(&format!("{place}.{name}"));
    let mut messages = Vec::new();
    for (name, networks) in
        [("allowed_networks", &admission.allowed), ("denied_networks", &admission.denied)]
    {
        if networks.contains(&Network::Unix) {
            let remedy = "who may connect to a Unix socket is said by unix_mode, unix_owner and \
                          unix_group";
            messages.push((name, format!("has \"unix\" in it: {remedy}")));
        }
    }
    let is_unix = offer.unix_path.is_some();
    let is_elsewhere = |network: &&Network| (**network == Network::Unix) != is_unix;
    if let Some(network) = admission.proxies.iter().find(is_elsewhere) {
        let remedy = if is_unix {
            "give [\"unix\"], for all come through this Unix socket"
        } else {
            "that is for a listener with unix_path"
        };
        messages
            .push(("proxies", format!("has \"{network}\" in it, whence nobody comes: {remedy}")));
    }
    let needs_proxies = ["proxies_say", "proxied_clients", "proxied_user_names"];
    if admission.proxies.is_empty() {
        let given = needs_proxies.into_iter().filter(|name| has(name, reading));
        let remedy = "means nothing without proxies: name their addresses with proxies beside it";
        messages.extend(given.map(|name| (name, remedy.to_owned())));
    } else if admission.forwarding == Forwarding::ForwardedFor {
        if !offer.transport.is_framed() {
            let remedy = "needs a request for a WebSocket to stand in: add transport = \"websocket\" \
                          (or \"websocket_tls\"), or have the proxy speak the PROXY protocol";
            messages.push(("proxies_say", format!("= \"x_forwarded_for\" {remedy}")));
        }
        let given = needs_proxies[1..].iter().filter(|name| has(name, reading));
        let remedy = "means nothing, for only the PROXY protocol says that: leave out proxies_say";
        messages.extend(given.map(|name| (*name, remedy.to_owned())));
    }
    for (name, message) in messages {
        let key = format!("{place}.{name}");
        let message = format!("{key} {message}");
        mistake(reading, &key, message);
    }
}

/// What only encrypted listeners have.
fn tls_unused(place: &str, offer: &Offer, reading: &mut Reading) {
    let key = format!("{place}.{ENCRYPTION}");
    if !offer.transport.is_encrypted() && reading.origins.contains_key(&key) {
        let message = format!(
            "{key} means nothing, for the listener is not encrypted: add transport = \"tls\" (or \
             \"websocket_tls\") to it, or leave this out"
        );
        mistake(reading, &key, message);
    }
}

/// What only listeners of WebSocket have.
fn websocket(place: &str, offer: &Offer, reading: &mut Reading) {
    let (path_key, origins_key) =
        (format!("{place}.websocket_path"), format!("{place}.websocket_origins"));
    let unread = format!("{place}.transport = ");
    if reading.mistakes.iter().any(|mistake| mistake.message.starts_with(&unread)) {
        return; // Nobody knows which one was meant.
    }
    if !offer.transport.is_framed() {
        for key in [path_key, origins_key] {
            if reading.origins.contains_key(&key) {
                let message = format!(
                    "{key} means nothing, for the listener speaks MQTT without WebSocket: add \
                     transport = \"websocket\" (or \"websocket_tls\") to it, or leave this out"
                );
                mistake(reading, &key, message);
            }
        }
        return;
    }
    let path = &offer.websocket_path;
    let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_path || path.contains(['?', '#']) {
        let message = format!(
            "{path_key} = \"{path}\" is no path of a URL: begin it with / and leave out spaces, ? \
             and #, for example \"/mqtt\""
        );
        mistake(reading, &path_key, message);
    }
    for origin in offer.websocket_origins.iter().filter(|origin| !is_origin(origin)) {
        let message = format!(
            "{origins_key} has \"{origin}\", which no browser says: give scheme and host, and the \
             port if it is not the usual one, without a path, such as \
             \"https://app.example.com\""
        );
        mistake(reading, &origins_key, message);
    }
}

/// Whether browsers may name a page's origin so: `null` is that of files.
fn is_origin(text: &str) -> bool {
    let is_host = |host: &str| {
        !host.is_empty()
            && host.bytes().all(|it| it.is_ascii_graphic())
            && !host.contains(['/', '*'])
    };
    matches!(text, ANY_ORIGIN | "null")
        || text.split_once("://").is_some_and(|(scheme, host)| !scheme.is_empty() && is_host(host))
}

/// A web page that somebody opens connects from that machine, and brings no user name.
fn warn_of_pages(listener: &Listening, reading: &mut Reading) {
    let Some(offer) = &listener.transport.websocket else { return };
    if listener.terms.anonymous && offer.origins.is_empty() {
        reading.warnings.push(format!(
            "{} = \"{}\" lets every web page in that a browser opens near it, without a user name: \
             name the pages with websocket_origins in [[listeners]], or say [\"{ANY_ORIGIN}\"] there \
             if you mean it",
            listener.key, listener.address
        ));
    }
}

fn warn_of_strangers(configuration: &Configuration, listener: &Listening, reading: &mut Reading) {
    let Listening { key, address, terms, .. } = listener;
    let is_named = listener.names_users();
    if terms.anonymous && !address.is_local() {
        reading.warnings.push(format!(
            "{key} = \"{address}\" is reachable from other machines and lets everybody in: set \
             anonymous = false there, or listen on a loopback address"
        ));
    } else if !terms.anonymous && configuration.access_users.is_none() && !is_named {
        reading.warnings.push(format!(
            "{key} = \"{address}\" lets nobody in, since there are no users: name their file with \
             --users or users in [access], or let everybody in with --anonymous or anonymous = \
             true in [access]"
        ));
    }
}

fn admin(configuration: &Configuration, reading: &mut Reading) {
    let Some(address) = configuration.admin_listen else { return };
    if !address.ip().is_loopback() {
        let message = format!(
            "admin.listen = \"{address}\" is reachable from other machines: give a loopback \
             address such as \"127.0.0.1:{}\"",
            address.port()
        );
        mistake(reading, "admin.listen", message);
    }
    let place = Address::Ip(address);
    let other = configuration.listeners.iter().find(|other| collide(&other.address, &place));
    if let Some(other) = other {
        let message = format!(
            "admin.listen = \"{address}\" cannot be listened on beside {} = \"{}\": choose another \
             port",
            other.key, other.address
        );
        mistake(reading, "admin.listen", message);
    }
}

fn rewrites(configuration: &Configuration, reading: &mut Reading) {
    for (index, rewrite) in configuration.core.rewrites.iter().enumerate() {
        let place = format!("{}[{index}]", REWRITES.name);
        let key = |name: &str| format!("{place}.{name}");
        let (from, to) = (&rewrite.from, &rewrite.to);
        if !rewrite.publishes && !rewrite.subscribes {
            let message = format!(
                "{place} rewrites nothing: set publishes or subscribes to true, or leave it out"
            );
            mistake(reading, &place, message);
        }
        if !reading.origins.contains_key(&key("from")) || from.is_empty() {
            continue;
        }
        match Filter::parse(from) {
            Err(error) => {
                let key = key("from");
                mistake(reading, &key, format!("{key} = \"{from}\" is no filter: {error}"));
            }
            Ok(filter) => {
                let wildcards = filter.levels().filter(|level| matches!(*level, "+" | "#")).count();
                if let Some(number) = reference_beyond(to, wildcards) {
                    let key = key("to");
                    let message = format!(
                        "{key} = \"{to}\" names ${number}, but from = \"{from}\" has {wildcards} of \
                         the wildcards + and #: each stands for one number, in their order"
                    );
                    mistake(reading, &key, message);
                }
                if rewrite.publishes && to.contains(['+', '#']) {
                    let key = key("to");
                    let message = format!(
                        "{key} = \"{to}\" is no topic, for it has a wildcard: use $1 to $9 for what \
                         the wildcards of from take, or set publishes = false"
                    );
                    mistake(reading, &key, message);
                }
            }
        }
    }
}

fn auto_subscriptions(configuration: &Configuration, reading: &mut Reading) {
    for (index, subscription) in configuration.core.auto_subscriptions.iter().enumerate() {
        let key = format!("{}[{index}].filter", AUTO_SUBSCRIPTIONS.name);
        let text = &subscription.filter;
        if text.is_empty() {
            continue; // It is missing, or a mistake already.
        }
        match SubscriptionFilter::parse(text) {
            Err(error) => {
                mistake(reading, &key, format!("{key} = \"{text}\" is no filter: {error}"));
            }
            // [MQTT-3.8.3-4]
            Ok(filter) if filter.group.is_some() && subscription.options.no_local => {
                let message = format!(
                    "{key} = \"{text}\" is a shared subscription: leave no_local out there"
                );
                mistake(reading, &key, message);
            }
            Ok(_) => {}
        }
    }
}

/// Bounds beyond what there is bound nothing: memory is short before.
fn memory(configuration: &Configuration, reading: &mut Reading) {
    let bytes_max = configuration.memory_bytes_max;
    if bytes_max == bellbird_memory::UNKNOWN {
        reading.warnings.push(
            "limits.memory_bytes_max is not given, and nobody here knows how much memory there is: \
             the broker takes whatever it needs; say how much it may have"
                .into(),
        );
        return;
    }
    let core = &configuration.core;
    let mut bounds = vec![
        ("limits.outbox_bytes_max".to_owned(), core.outbox_bytes_max),
        ("limits.queue_bytes_max".to_owned(), core.queue_bytes_max),
        (format!("{LIMITS}.{PACKET}"), configuration.terms.packet_bytes_max as usize),
    ];
    for (index, offer) in configuration.offers.iter().enumerate() {
        let key = format!("{}[{index}].{PACKET}", LISTENERS.name);
        bounds.push((key, offer.terms.packet_bytes_max as usize));
    }
    for (key, value) in bounds {
        let is_given = [key.as_str(), MEMORY].iter().any(|key| reading.origins.contains_key(*key));
        if is_given && value > bytes_max {
            reading.warnings.push(format!(
                "{key} = {value} bounds nothing: all the memory that the broker may have is \
                 {MEMORY} = {bytes_max}"
            ));
        }
    }
    let (wanted, segment) = (configuration.segment_bytes, configuration.segment_bytes());
    if reading.origins.contains_key(SEGMENT) && segment < wanted {
        reading.warnings.push(format!(
            "{SEGMENT} = {wanted} is too much for the memory that the broker may have ({MEMORY} = \
             {bytes_max}): {segment} is in force, a 32nd of it"
        ));
    }
}

/// Only a shell knows what `~` stands for.
fn home(configuration: &Configuration, reading: &mut Reading) {
    let data = configuration.data.display().to_string();
    if data == "~" || data.starts_with("~/") {
        let here = std::env::current_dir().unwrap_or_default().join(&data);
        reading.warnings.push(format!(
            "data = \"{data}\" is taken as it is written, and means {}: only a shell replaces ~, \
             so write the path out",
            here.display()
        ));
    }
}

fn topic_durability(configuration: &Configuration, reading: &mut Reading) {
    for (index, rule) in configuration.core.topic_durability.iter().enumerate() {
        let key = format!("{}[{index}].filter", TOPIC_DURABILITY.name);
        let text = &rule.filter;
        // An empty one is missing, or a mistake already.
        if let Some(error) = Filter::parse(text).err().filter(|_| !text.is_empty()) {
            mistake(reading, &key, format!("{key} = \"{text}\" is no filter: {error}"));
        }
    }
}

fn mistake(reading: &mut Reading, key: &str, message: String) {
    let listed = || key.split_once('[').and_then(|_| key.rsplit_once('.')).map(|(item, _)| item);
    let origin = reading.origins.get(key).or_else(|| reading.origins.get(listed()?));
    let origin = origin.cloned().unwrap_or(Origin::Default);
    reading.mistakes.push(Mistake { origin, message });
}

/// Whether the system would refuse the second of two addresses.
fn collide(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Ip(one), Address::Ip(other)) => share_port(*one, *other),
        (Address::Unix(one), Address::Unix(other)) => one == other,
        (Address::Ip(_), Address::Unix(_)) | (Address::Unix(_), Address::Ip(_)) => false,
    }
}

fn share_port(one: SocketAddr, other: SocketAddr) -> bool {
    let (one_ip, other_ip) = (one.ip(), other.ip());
    let is_any = one_ip.is_unspecified() || other_ip.is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && one_ip.is_ipv4() == other_ip.is_ipv4()
        && (one_ip == other_ip || is_any)
}

/// The first `$n` in a rewrite's new text for which there is no wildcard.
fn reference_beyond(text: &str, wildcards: usize) -> Option<usize> {
    let digits = text.split('$').skip(1).filter_map(|rest| rest.chars().next()?.to_digit(10));
    digits.map(|digit| digit as usize).find(|number| *number == 0 || *number > wildcards)
}

/// Connections keep the number of their listener in 8 bits.
const LISTENERS_MAX: usize = 256;
const MEMORY: &str = "limits.memory_bytes_max";
const PACKET: &str = "packet_bytes_max";
const SEGMENT: &str = "store.segment_bytes";
const ANY_ORIGIN: &str = WebSocketOffer::ANY_ORIGIN;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_need_wildcards() {
        let check = |text: &str, wildcards: usize, expected: Option<usize>| {
            assert_eq!(reference_beyond(text, wildcards), expected, "{text}");
        };
        check("a/b", 0, None);
        check("a/$1/$2", 2, None);
        check("a/$1/$2", 1, Some(2));
        check("$0", 2, Some(0));
        check("$SYS/$", 0, None);
    }

    #[test]
    fn origins_are_those_of_browsers() {
        let check = |text: &str, expected: bool| assert_eq!(is_origin(text), expected, "{text}");
        check("https://app.example.com", true);
        check("http://127.0.0.1:8080", true);
        check("http://[::1]:8080", true);
        check("null", true);
        check("*", true);
        check("app.example.com", false);
        check("https://", false);
        check("https://app.example.com/", false);
        check("https://*.example.com", false);
        check("", false);
    }

    #[test]
    fn addresses_collide() {
        let check = |one: &str, other: &str, expected: bool| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(share_port(one, other), expected, "{one} {other}");
            assert_eq!(share_port(other, one), expected, "{other} {one}");
        };
        check("127.0.0.1:1", "127.0.0.1:1", true);
        check("127.0.0.1:1", "127.0.0.1:2", false);
        check("127.0.0.1:0", "127.0.0.1:0", false);
        check("127.0.0.1:1", "127.0.0.2:1", false);
        check("127.0.0.1:1", "0.0.0.0:1", true);
        check("[::1]:1", "127.0.0.1:1", false);
    }
}
