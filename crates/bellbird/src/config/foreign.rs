//! Names that Mosquitto has for settings: whoever comes from there is told what they are here.

/// What to do about a key of mosquitto.conf.
pub(crate) fn remedy(key: &str) -> Option<String> {
    let key = key.rsplit('.').next().unwrap_or(key);
    let (_, ours) = NAMES.iter().find(|(theirs, _)| *theirs == key)?;
    Some(match *ours {
        "" => "that is Mosquitto's: docs/from-mosquitto.md says what there is instead".into(),
        "listen" => "that is Mosquitto's name for listen, or address in [[listeners]], see \
                     docs/from-mosquitto.md"
            .into(),
        ours => format!("that is Mosquitto's name for {ours}, see docs/from-mosquitto.md"),
    })
}

/// The same for a line of mosquitto.conf, which is no TOML.
pub(crate) fn remedy_of_line(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let key = words.next()?;
    let is_assignment = words.next().is_none_or(|word| word.starts_with('='));
    if is_assignment { None } else { remedy(key) }
}

/// What of ours takes its place; nothing where docs/from-mosquitto.md has more to say.
const NAMES: &[(&str, &str)] = &[
    ("acl_file", "acl in [access]"),
    ("address", ""),
    ("allow_anonymous", "anonymous in [access]"),
    ("allow_zero_length_clientid", ""),
    ("auth_plugin", ""),
    ("autosave_interval", "durability"),
    ("autosave_on_changes", "durability"),
    ("bind_address", "listen"),
    ("cafile", "client_authorities in [tls]"),
    ("certfile", "certificates in [tls]"),
    ("connection", ""),
    ("crlfile", "client_crls in [tls]"),
    ("include_dir", ""),
    ("keyfile", "keys in [tls]"),
    ("listener", "listen"),
    ("log_dest", ""),
    ("log_timestamp", ""),
    ("log_type", "level in [log]"),
    ("max_connections", ""),
    ("max_inflight_messages", "inflight_max in [limits]"),
    ("max_keepalive", "keep_alive_secs_max in [limits]"),
    ("max_packet_size", "packet_bytes_max in [limits]"),
    ("max_qos", "qos_max in [limits]"),
    ("max_queued_bytes", "queue_bytes_max in [limits]"),
    ("max_queued_messages", "queue_messages_max in [limits]"),
    ("max_topic_alias", "topic_alias_max in [limits]"),
    ("memory_limit", "memory_bytes_max in [limits]"),
    ("message_size_limit", "packet_bytes_max in [limits]"),
    ("password_file", "users in [access]"),
    ("per_listener_settings", ""),
    ("persistence", ""),
    ("persistence_location", "data"),
    ("persistent_client_expiration", "session_expiry_secs_max in [limits]"),
    ("pid_file", ""),
    ("plugin", ""),
    ("port", "listen"),
    ("protocol", "transport in [[listeners]]"),
    ("queue_qos0_messages", "queues_at_most_once in [limits]"),
    ("require_certificate", "client_certificates in [tls]"),
    ("retain_available", "retain in [limits]"),
    ("set_tcp_nodelay", ""),
    ("sys_interval", "interval_secs in [sys]"),
    ("tls_version", "version_min in [tls]"),
    ("topic", ""),
    ("use_identity_as_username", "user_name_from in [tls]"),
    ("use_subject_as_username", "user_name_from in [tls]"),
    ("user", ""),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tables::keys;

    #[test]
    fn keys_and_lines_of_mosquitto() {
        let check = |line: &str, expected: Option<&str>| {
            let found = remedy_of_line(line);
            assert_eq!(found.is_some(), expected.is_some(), "{line}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{line}");
        };
        check("listener 1883 127.0.0.1", Some("for listen, or address"));
        check("persistence true", Some("docs/from-mosquitto.md"));
        check("port = 1883", None);
        check("listen", None);
        check("hello world", None);
        assert!(remedy("port").is_some());
        assert!(remedy("limits.max_keepalive").is_some());
        assert!(remedy("shards").is_none());
    }

    #[test]
    fn what_stands_in_place_of_it_exists() {
        let known: Vec<String> = keys().collect();
        for (theirs, ours) in NAMES {
            assert!(!known.contains(&(*theirs).to_owned()), "{theirs}");
            let Some((name, table)) = ours.split_once(" in [") else {
                assert!(ours.is_empty() || known.contains(&(*ours).to_owned()), "{ours}");
                continue;
            };
            let key = format!("{}.{name}", table.trim_matches(['[', ']']));
            assert!(known.contains(&key) || key == "listeners.transport", "{key}");
        }
    }
}
