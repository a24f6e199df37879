//! What to subscribe to and what to do with messages: the options of `bellbird sub`, checked.

use std::ffi::OsString;

use bellbird_codec::{QoS, RetainHandling, SubscribeOptions};
use bellbird_topics::{Filter, SubscriptionFilter, TopicName};

use super::arguments::Arguments;
use super::format::Format;
use super::message::Message;
use crate::client::failure::Failure;
use crate::client::introduction::{Introduction, Shared};
use crate::client::properties::{Place, PropertySets};

/// What the options mean.
pub(crate) struct Order {
    pub(crate) introduction: Introduction,
    pub(crate) properties: PropertySets,
    pub(crate) filters: Vec<String>,
    pub(crate) unsubscribe: Vec<String>,
    pub(crate) options: SubscribeOptions,
    pub(crate) format: Format,
    pub(crate) newline: bool,
    pub(crate) count: Option<u64>,
    pub(crate) timeout_secs: Option<u64>,
    pub(crate) exits_when_subscribed: bool,
    filters_out: Vec<String>,
    no_retained: bool,
    retained_only: bool,
    remove_retained: bool,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Treatment {
    pub(crate) print: bool,
    pub(crate) remove: bool,
    pub(crate) ends: bool,
}

impl Order {
    pub(crate) fn decide(
        arguments: &Arguments,
        environment_password: Option<OsString>,
    ) -> Result<Self, Failure> {
        let places =
            [Place::Connect, Place::Will, Place::Subscribe, Place::Unsubscribe, Place::Disconnect];
        let Shared { introduction, properties, topic } =
            Introduction::decide(&arguments.connect, &places, environment_password)?;
        let mut filters = arguments.topic.clone();
        filters.extend(topic);
        check_filters(arguments, &filters)?;
        if arguments.retain_as_published && !introduction.version.has_properties() {
            return Err(usage("--retain-as-published: 3.1.1 has no such option; add -V mqttv5"));
        }
        let options = SubscribeOptions {
            qos: QoS::try_from(arguments.qos).map_err(|error| usage(error.to_string()))?,
            no_local: false,
            retain_as_published: arguments.retain_as_published,
            retain_handling: RetainHandling::SendAlways,
        };
        Ok(Self {
            introduction,
            properties,
            filters,
            unsubscribe: arguments.unsubscribe.clone(),
            options,
            format: format(arguments)?,
            newline: !arguments.no_newline,
            count: arguments.count,
            timeout_secs: arguments.timeout,
            exits_when_subscribed: arguments.exit_when_subscribed,
            filters_out: arguments.filter_out.clone(),
            no_retained: arguments.no_retained,
            retained_only: arguments.retained_only,
            remove_retained: arguments.remove_retained,
        })
    }

    /// What becomes of a message.
    pub(crate) fn treat(&self, message: &Message<'_>) -> Treatment {
        let is_out = self.filters_out.iter().any(|filter| matches(filter, message.topic));
        let ends = self.retained_only && !message.retain;
        let is_old = self.no_retained && message.retain;
        let print = !(ends || is_out || is_old);
        let remove = self.remove_retained && message.retain && !is_out;
        Treatment { print, remove, ends }
    }

    /// Whether the command ends by itself some time, other than by -W.
    pub(crate) fn has_end(&self) -> bool {
        self.count.is_some() || self.exits_when_subscribed || self.retained_only
    }
}

fn check_filters(arguments: &Arguments, filters: &[String]) -> Result<(), Failure> {
    if filters.is_empty() && arguments.unsubscribe.is_empty() {
        return Err(usage("no topic: add -t FILTER"));
    }
    let named = [("-t", filters), ("-U", &arguments.unsubscribe)];
    for (name, filters) in named {
        for filter in filters {
            SubscriptionFilter::parse(filter)
                .map_err(|error| usage(format!("{name} {filter:?} is no filter: {error}")))?;
        }
    }
    for filter in &arguments.filter_out {
        Filter::parse(filter)
            .map_err(|error| usage(format!("-T {filter:?} is no filter: {error}")))?;
    }
    let bytes: usize =
        filters.iter().chain(&arguments.unsubscribe).map(|text| text.len() + 3).sum();
    if bytes > FILTERS_BYTES_MAX {
        return Err(usage(format!("-t and -U have more than {FILTERS_BYTES_MAX} bytes together")));
    }
    Ok(())
}

fn format(arguments: &Arguments) -> Result<Format, Failure> {
    match &arguments.format {
        Some(text) => Format::parse(text).map_err(|why| usage(format!("-F {text:?}: {why}"))),
        None if arguments.json => Ok(Format::json()),
        None if arguments.verbose => Ok(Format::verbose()),
        None => Ok(Format::payload()),
    }
}

fn matches(filter: &str, topic: &str) -> bool {
    match (Filter::parse(filter), TopicName::parse(topic)) {
        (Ok(filter), Ok(topic)) => filter.matches(topic),
        (Ok(_) | Err(_), _) => false,
    }
}

fn usage(text: impl Into<String>) -> Failure {
    Failure::Usage(text.into())
}

/// All filters stand in one packet; the system's bound on arguments is lower than the protocol's.
const FILTERS_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use bellbird_codec::Properties;
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn decide(line: &str) -> Result<Order, String> {
        let words = std::iter::once("sub").chain(line.split(' '));
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Order::decide(&line.arguments, None).map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_options_are_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn combinations() {
        let fine = |line| assert_eq!(decide(line).err(), None, "{line}");
        fine("-t a -t b/# -T b/c -U d -v -q 2 -C 3 -W 10 -d");
        fine("-h host -p 1 -t $share/g/a -c -i me -E");
        fine("-t # --remove-retained --retained-only");
        fine("-U a -c -i me -E");
        fine("-t a -F %j -N -R");
        fine("-t a --json -V mqttv5 --retain-as-published -x 5 -D subscribe user-property a b");
        fine("-L mqtt://h/a/b");
        let wrong = |line, expected: &str| {
            let told = decide(line).err().unwrap_or_default();
            assert!(told.contains(expected), "{line}: {told}");
        };
        wrong("-v", "add -t");
        wrong("-t a/#/b", "a/#/b");
        wrong("-t a -U b+", "-U");
        wrong("-t a -T b+", "-T");
        wrong("-t a -v -F %p", "cannot be used with");
        wrong("-t a --json -v", "cannot be used with");
        wrong("-t a -R --retained-only", "cannot be used with");
        wrong("-t a -C 0", "0");
        wrong("-t a -W 0", "0");
        wrong("-t a -F %Q", "%Q");
        wrong("-t a --retain-as-published", "-V mqttv5");
        wrong("-t a -c", "add -i");
        wrong("-t a -V mqttv5 -D publish user-property a b", "connect, will, subscribe");
    }

    #[test]
    fn treatments() {
        let check = |line, topic, retain, expected: (bool, bool, bool)| {
            let properties = Properties::EMPTY;
            let qos = QoS::AtMostOnce;
            let message = Message { topic, payload: b"", qos, retain, packet_id: 0, properties };
            let found = decide(line).unwrap().treat(&message);
            assert_eq!(
                (found.print, found.remove, found.ends),
                expected,
                "{line} {topic} {retain}"
            );
        };
        check("-t a", "a", false, (true, false, false));
        check("-t a", "a", true, (true, false, false));
        check("-t a -R", "a", true, (false, false, false));
        check("-t a -R", "a", false, (true, false, false));
        check("-t # -T a/#", "a/b", false, (false, false, false));
        check("-t # -T a/#", "b", false, (true, false, false));
        check("-t # --retained-only", "b", true, (true, false, false));
        check("-t # --retained-only", "b", false, (false, false, true));
        check("-t # --remove-retained", "b", true, (true, true, false));
        check("-t # --remove-retained -R", "b", true, (false, true, false));
        check("-t # --remove-retained -T b", "b", true, (false, false, false));
        check("-t # --remove-retained", "b", false, (true, false, false));
    }
}
