//! One setting: everything that is said about a key, in one place.

use std::net::SocketAddr;
use std::path::PathBuf;

use bellbird_codec::{QoS, RetainHandling, Version};
use bellbird_core::{Durability, GroupStrategy, OverRate, Profile, Terms, Versions};
use bellbird_server::{
    Admission, Demand, Forwarding, Network, Proxied, Template, TlsSettings, TlsVersion,
};
use log::LevelFilter;

use super::rights::FileMode;
use super::value::{Kind, Value};
use super::{Carrier, OnFailure};

/// One key, and its place in what is configured.
pub(crate) struct Setting<T: 'static> {
    /// With its table in front: `limits.receive_max`; without it in a list of tables.
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    /// What a number counts; empty for everything else.
    pub(crate) unit: &'static str,
    pub(crate) default: DefaultShown,
    pub(crate) reload: Reload,
    /// What it does, for the reference.
    pub(crate) meaning: &'static str,
    pub(crate) read: fn(&T) -> Value,
    /// The value is one that `kind` has let pass.
    pub(crate) write: fn(&mut T, Value),
}

/// A default in the reference.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefaultShown {
    /// The value itself.
    Value,
    /// It depends, as these words say.
    Words(&'static str),
    /// There is none: the key must be given.
    Required,
}

/// What SIGHUP does with a setting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    /// It counts from then on.
    Live,
    /// It counts from the next start on.
    Restart,
}

/// A list of tables in the file, `[[name]]`.
pub(crate) struct Table<T: 'static> {
    pub(crate) name: &'static str,
    pub(crate) settings: &'static [Setting<T>],
    pub(crate) default: fn() -> T,
    /// What a table of the list may have beside its settings.
    pub(crate) parts: fn(&mut T) -> Option<Parts<'_>>,
}

/// What a listener has beside its own settings.
pub(crate) struct Parts<'o> {
    pub(crate) terms: &'o mut Terms,
    pub(crate) admission: &'o mut Admission,
    /// In a table `tls`.
    pub(crate) tls: &'o mut TlsSettings,
}

/// The setting of a field, by the field's path.
macro_rules! setting {
    ($key:literal => $($field:ident).+, $kind:expr, $unit:literal, $reload:ident, $meaning:literal) => {
        setting!($key => $($field).+, $kind, $unit, $reload, $meaning, DefaultShown::Value)
    };
    (
        $key:literal => $($field:ident).+, $kind:expr, $unit:literal, $reload:ident,
        $meaning:literal, $default:expr
    ) => {
        Setting {
            key: $key,
            kind: $kind,
            unit: $unit,
            default: $default,
            reload: Reload::$reload,
            meaning: $meaning,
            read: |target| Field::to_value(&target.$($field).+),
            write: |target, value| {
                target.$($field).+ = Field::of_value(value).expect("its kind has checked the value");
            },
        }
    };
}
pub(crate) use setting;

/// A field that a setting fills.
pub(crate) trait Field: Sized {
    /// None if the kind of the setting does not fit its field.
    fn of_value(value: Value) -> Option<Self>;
    fn to_value(&self) -> Value;
}

macro_rules! number_field {
    ($($number:ty)+) => {$(
        impl Field for $number {
            fn of_value(value: Value) -> Option<Self> {
                if let Value::Number(number) = value { number.try_into().ok() } else { None }
            }

            fn to_value(&self) -> Value {
                Value::Number((*self).try_into().expect("numbers of settings have at most 64 bits"))
            }
        }
    )+};
}
number_field!(u8 u16 u32 u64 usize);

macro_rules! plain_field {
    ($($field:ty = $variant:ident)+) => {$(
        impl Field for $field {
            fn of_value(value: Value) -> Option<Self> {
                if let Value::$variant(inner) = value { Some(inner.into()) } else { None }
            }

            fn to_value(&self) -> Value {
                Value::$variant(self.clone().into())
            }
        }
    )+};
}
plain_field!(bool = Flag  Box<str> = Text  PathBuf = Path  SocketAddr = Address  Vec<SocketAddr> = Addresses  Vec<Box<str>> = Texts  Vec<PathBuf> = Paths);

impl Field for Vec<Network> {
    fn of_value(value: Value) -> Option<Self> {
        let Value::Texts(texts) = value else { return None };
        texts.iter().map(|text| text.parse().ok()).collect()
    }

    fn to_value(&self) -> Value {
        Value::Texts(self.iter().map(|network| network.to_string().into()).collect())
    }
}

impl Field for Versions {
    fn of_value(value: Value) -> Option<Self> {
        let Value::Texts(texts) = value else { return None };
        let version = |text: &str| {
            let named = VERSIONS.iter().find(|(name, _)| *name == text);
            named.map(|(_, version)| *version)
        };
        texts.iter().map(|text| version(text)).collect()
    }

    fn to_value(&self) -> Value {
        let spoken = VERSIONS.iter().filter(|(_, version)| self.contains(*version));
        Value::Texts(spoken.map(|(name, _)| (*name).into()).collect())
    }
}

/// The versions of the protocol, as they are written.
pub(crate) const VERSIONS: [(&str, Version); 3] =
    [("3.1", Version::V31), ("3.1.1", Version::V311), ("5.0", Version::V5)];

impl Field for FileMode {
    fn of_value(value: Value) -> Option<Self> {
        if let Value::Text(text) = value { text.parse().ok() } else { None }
    }

    fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }
}

impl Field for Template {
    fn of_value(value: Value) -> Option<Self> {
        if let Value::Text(text) = value { text.parse().ok() } else { None }
    }

    fn to_value(&self) -> Value {
        Value::Text(self.text().into())
    }
}

macro_rules! coded_field {
    ($($field:ty = $all:expr;)+) => {$(
        impl Field for $field {
            fn of_value(value: Value) -> Option<Self> {
                let Value::Number(number) = value else { return None };
                $all.into_iter().find(|field| u64::from(*field as u8) == number)
            }

            fn to_value(&self) -> Value {
                Value::Number(u64::from(*self as u8))
            }
        }
    )+};
}
coded_field! {
    QoS = [Self::AtMostOnce, Self::AtLeastOnce, Self::ExactlyOnce];
    RetainHandling = [Self::SendAlways, Self::SendIfNew, Self::DoNotSend];
}

impl<F: Field> Field for Option<F> {
    fn of_value(value: Value) -> Option<Self> {
        if value == Value::Nothing { Some(None) } else { F::of_value(value).map(Some) }
    }

    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Nothing, F::to_value)
    }
}

/// A choice with a name for each case.
pub(crate) trait Named: Copy + PartialEq + 'static {
    const NAMES: &'static [(&'static str, Self)];

    fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, case)| *case == self);
        named.map_or("unknown", |(name, _)| name)
    }
}

/// The kind of a named choice.
pub(crate) const fn names<N: Named>() -> Kind {
    Kind::Name(|| N::NAMES.iter().map(|(name, _)| *name).collect())
}

macro_rules! named_field {
    ($($field:ty = $($name:literal $case:ident),+;)+) => {$(
        impl Named for $field {
            const NAMES: &'static [(&'static str, Self)] = &[$(($name, Self::$case)),+];
        }

        impl Field for $field {
            fn of_value(value: Value) -> Option<Self> {
                let Value::Text(text) = value else { return None };
                Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, case)| *case)
            }

            fn to_value(&self) -> Value {
                Value::Text(self.name().into())
            }
        }
    )+};
}
named_field! {
    Durability = "synced" Synced, "written" Written, "memory" Memory;
    OnFailure = "refuse" Refuse, "end" End;
    Carrier = "tcp" Tcp, "tls" Tls, "websocket" WebSocket, "websocket_tls" WebSocketTls;
    TlsVersion = "1.2" V1_2, "1.3" V1_3;
    Forwarding = "proxy_protocol" ProxyProtocol, "x_forwarded_for" ForwardedFor;
    Proxied = "any" Any, "encrypted" Encrypted, "certified" Certified;
    Demand = "none" None, "optional" Optional, "required" Required;
    Profile = "strict" Strict, "tolerant" Tolerant;
    OverRate = "wait" Wait, "disconnect" Disconnect;
    GroupStrategy = "round_robin" RoundRobin, "sticky" Sticky, "hash" Hash;
    LevelFilter = "error" Error, "warn" Warn, "info" Info, "debug" Debug;
}
