//! The text format of Prometheus, version 0.0.4: one family after the other.

use std::fmt::{Display, Write};

/// A page of metrics.
#[derive(Default)]
pub(crate) struct Page(String);

/// What kind of number a family has.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// It only grows; its name ends in `_total`.
    Counter,
    Gauge,
}

impl Page {
    /// A family with one number.
    pub(crate) fn number(&mut self, kind: Kind, name: &str, help: &str, value: impl Display) {
        self.head(kind, name, help);
        self.line(format_args!("{name} {value}"));
    }

    /// A family with a number for each value of one label. Values of labels are names of ours:
    /// nothing in them needs an escape.
    pub(crate) fn numbers<L: Display, V: Display>(
        &mut self,
        kind: Kind,
        (name, help): (&str, &str),
        label: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) {
        self.head(kind, name, help);
        for (of, value) in values {
            self.line(format_args!("{name}{{{label}=\"{of}\"}} {value}"));
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }

    fn head(&mut self, kind: Kind, name: &str, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: impl Display) {
        writeln!(self.0, "{line}").expect("a string takes everything");
    }
}
