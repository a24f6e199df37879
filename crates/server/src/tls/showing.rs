//! What the listeners show, for those who watch how long it is good for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::Tls;
use super::configuration::DAY_SECS;
use crate::address::Address;

/// The certificates in force, shared by whoever changes and whoever watches them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Showing(Arc<Mutex<Vec<Shown>>>);

/// A listener, and what it is encrypted with.
type Shown = (Address, Option<Tls>);

impl Showing {
    pub(crate) fn new(listeners: Vec<Shown>) -> Self {
        Self(Arc::new(Mutex::new(listeners)))
    }

    /// In the order of the start; None stays as it is.
    pub(crate) fn replace(&self, newer: &[Option<Tls>]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((_, tls), newer) in all.iter_mut().zip(newer) {
            if tls.is_some() && newer.is_some() {
                tls.clone_from(newer);
            }
        }
    }

    /// For each encrypted listener, how many whole days the certificate that ends first has left.
    pub(crate) fn days_left(&self, now: SystemTime) -> Vec<(Address, u64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let days = |(address, tls): &Shown| {
            let left = tls.as_ref()?.earliest_end()?.duration_since(now).unwrap_or_default();
            Some((address.clone(), left.as_secs() / DAY_SECS))
        };
        all.iter().filter_map(days).collect()
    }
}
