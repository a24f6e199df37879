//! What to publish, where and how: the options of `bellbird pub`, checked against each other.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use bellbird_codec::{PACKET_BYTES_MAX, QoS};
use bellbird_topics::TopicName;

use super::arguments::Arguments;
use super::source::Source;
use crate::client::failure::Failure;
use crate::client::introduction::{Introduction, Shared};
use crate::client::properties::{Place, PropertySets};

/// What the options mean.
pub(crate) struct Order {
    pub(crate) introduction: Introduction,
    /// A topic name, as it was checked.
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) inflight_max: u16,
    pub(crate) properties: PropertySets,
    origin: Origin,
    repeat: u64,
    repeat_delay: Duration,
}

/// Where the payload comes from.
enum Origin {
    Message(Vec<u8>),
    File(PathBuf),
    Stdin,
    Lines,
}

impl Order {
    pub(crate) fn decide(
        arguments: &Arguments,
        environment_password: Option<OsString>,
    ) -> Result<Self, Failure> {
        let places = [Place::Connect, Place::Will, Place::Publish, Place::Disconnect];
        let Shared { introduction, properties, topic } =
            Introduction::decide(&arguments.connect, &places, environment_password)?;
        let topic = match (&arguments.topic, topic) {
            (Some(_), Some(_)) => return Err(usage("-t and the topic in -L: leave one out")),
            (Some(topic), None) => topic.clone(),
            (None, Some(topic)) => topic,
            (None, None) => return Err(usage("no topic: add -t TOPIC")),
        };
        TopicName::parse(&topic)
            .map_err(|error| usage(format!("-t {topic:?} is no topic to publish to: {error}")))?;
        let repeat_delay =
            Duration::try_from_secs_f64(arguments.repeat_delay).map_err(|error| {
                usage(format!("--repeat-delay {}: {error}", arguments.repeat_delay))
            })?;
        Ok(Self {
            introduction,
            topic,
            qos: QoS::try_from(arguments.qos).map_err(|error| usage(error.to_string()))?,
            retain: arguments.retain,
            inflight_max: arguments.max_inflight,
            properties,
            origin: origin(arguments),
            repeat: arguments.repeat,
            repeat_delay,
        })
    }

    /// Reads the payload, if it is one.
    pub(crate) fn source(&self) -> Result<Source, Failure> {
        let payload = match &self.origin {
            Origin::Lines => return Ok(Source::lines()),
            Origin::Message(payload) => payload.clone(),
            Origin::Stdin => {
                read(io::stdin()).map_err(Failure::system("read the message from stdin"))?
            }
            Origin::File(path) => File::open(path)
                .and_then(read)
                .map_err(Failure::system(format!("read the message from {}", path.display())))?,
        };
        // Topic, id and properties need room in the packet as well.
        let properties = self.properties.publish.as_properties().raw().len();
        let payload_max = PACKET_BYTES_MAX - 16 - self.topic.len() - properties;
        if payload.len() > payload_max {
            return Err(usage(format!("the message has more than {payload_max} bytes")));
        }
        Ok(Source::repeated(payload, self.repeat, self.repeat_delay))
    }
}

fn origin(arguments: &Arguments) -> Origin {
    if let Some(message) = &arguments.message {
        return Origin::Message(message.clone().into_vec());
    }
    if let Some(file) = &arguments.file {
        return Origin::File(file.clone());
    }
    if arguments.stdin_file {
        return Origin::Stdin;
    }
    if arguments.stdin_line { Origin::Lines } else { Origin::Message(Vec::new()) }
}

/// Reads to the end, or to one byte more than any packet has.
fn read(input: impl Read) -> io::Result<Vec<u8>> {
    let mut payload = Vec::new();
    input.take(PACKET_BYTES_MAX as u64 + 1).read_to_end(&mut payload)?;
    Ok(payload)
}

fn usage(text: impl Into<String>) -> Failure {
    Failure::Usage(text.into())
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// The complaint about a line, or an empty text.
    fn complaint(line: &[&str]) -> String {
        let words = std::iter::once("pub").chain(line.iter().copied());
        match Line::try_parse_from(words) {
            Err(error) => error.to_string(),
            Ok(line) => Order::decide(&line.arguments, None)
                .err()
                .map_or_else(String::new, |f| f.to_string()),
        }
    }

    #[test]
    fn the_options_are_consistent() {
        let command: Command = Line::command();
        command.debug_assert();
    }

    #[test]
    fn combinations() {
        let fine = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            assert_eq!(complaint(&words), "", "{line}");
        };
        fine("-t a -m x");
        fine("-h host -p 1 -t a -m -5");
        fine("-t a -f file -q 2 -r");
        fine("-t a -l -q 1 -M 5 -k 10 -d");
        fine("-t a -s --repeat 3 --repeat-delay 0.5");
        fine("-t a -n -c -i me -V mqttv5 -x -1");
        fine("-L mqtt://u:p@h:1/a -m x");
        fine("-V 5 -D publish user-property a b -D publish content-type c -t a -m x");
        fine(
            "-u me -P -secret -t a -m x --will-topic w --will-payload p --will-qos 1 --will-retain",
        );
        let wrong = |line: &str, expected: &str| {
            let words: Vec<_> = line.split(' ').collect();
            let told = complaint(&words);
            assert!(told.contains(expected), "{line}: {told}");
        };
        wrong("-m x", "add -t");
        wrong("-t a", "--message");
        wrong("-t a -m x -n", "cannot be used with");
        wrong("-t a -l --repeat 2", "cannot be used with");
        wrong("-t a -m x -q 3", "0..=2");
        wrong("-t a -m x -p 0", "1..=65535");
        wrong("-t a -m x -V mqttv4", "mqttv311 and mqttv5 are the versions");
        wrong("-t a/# -m x", "wildcard");
        wrong("-t a -m x -L mqtt://h/b", "leave one out");
        wrong("-h x -m x -L mqtt://h/b", "cannot be used with");
        wrong("-t a -m x --repeat-delay -1", "repeat-delay");
        wrong("-t a -m x --will-qos 1", "--will-topic");
        wrong("-t a -m x -D publish content-type c", "-V mqttv5");
        wrong(
            "-t a -m x -V 5 -D subscribe user-property a b",
            "connect, will, publish, disconnect",
        );
    }
}
