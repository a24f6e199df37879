//! Who a session belongs to: its client identifier, and the user name it proved, if any.

use crate::permit::Client;

/// Both names in one text: U+0000 stands between them, and in neither [MQTT-1.5.4-2].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Name(Box<str>);

impl Name {
    /// Puts the names together. Both come from MQTT strings, which have no U+0000.
    pub fn new(client_id: &str, user_name: Option<&str>) -> Self {
        match user_name {
            Some(user_name) => Self([client_id, user_name].join("\0").into()),
            None => Self(client_id.into()),
        }
    }

    /// The client identifier, the key of the session.
    pub fn client_id(&self) -> &str {
        self.split().0
    }

    /// The user name.
    pub fn user_name(&self) -> Option<&str> {
        self.split().1
    }

    /// As the gate wants it.
    pub fn as_client(&self) -> Client<'_> {
        let (id, user_name) = self.split();
        Client { id, user_name }
    }

    fn split(&self) -> (&str, Option<&str>) {
        match self.0.split_once('\0') {
            Some((client_id, user_name)) => (client_id, Some(user_name)),
            None => (&self.0, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_come_back() {
        for (id, user) in [("c", None), ("c", Some("u")), ("", Some("")), ("", None)] {
            let name = Name::new(id, user);
            assert_eq!((name.client_id(), name.user_name()), (id, user));
        }
    }
}
