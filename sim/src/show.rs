//! Contract values in few words, for the trace.

use std::fmt;

use bellbird_core::errand::Errand;
use bellbird_core::identity::DeliveryId;
use bellbird_core::mail::Mail;
use bellbird_core::record::{Operation, Record};
use bellbird_core::{Change, Message};

/// A durable output.
pub(crate) struct ShowRecord<'a>(pub(crate) &'a Record);
/// A letter.
pub(crate) struct ShowMail<'a>(pub(crate) &'a Mail);
/// A batch of changes.
pub(crate) struct ShowChanges<'a>(pub(crate) &'a [Change]);
struct ShowMessage<'a>(&'a Message);

impl fmt::Display for ShowRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Record::Append(append) => {
                write!(f, "append lane {} {}", append.lane.0, ShowMessage(&append.message))?;
                append.holders.iter().try_for_each(|delivery| {
                    let retain = if delivery.retain { "r" } else { "" };
                    write!(f, " >{}q{}{retain}", delivery.holder, delivery.qos.value())
                })?;
                match append.received {
                    Some(received) => {
                        write!(f, " from {} id {}", received.holder, received.packet_id.value())
                    }
                    None => Ok(()),
                }
            }
            Record::Commit(commit) => {
                write!(f, "commit {} epoch {} at {}", commit.holder, commit.epoch, commit.at.0)?;
                commit.operations.iter().try_for_each(|operation| show_operation(operation, f))
            }
            Record::Retain(retain) => {
                write!(f, "retain order {} {}", retain.order, retain.topic)?;
                match &retain.message {
                    Some(message) => write!(f, " {}", ShowMessage(message)),
                    None => f.write_str(" cleared"),
                }
            }
            Record::Settings(settings) => write!(f, "setting {}", settings.key),
        }
    }
}

impl fmt::Display for ShowMail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Mail::Deliver(parcels) => parcels.iter().try_for_each(|parcel| {
                let position = parcel.position.map_or(0, |position| position.0);
                write!(f, " {:?} @{position} {}", parcel.share, ShowMessage(&parcel.message))?;
                parcel
                    .targets
                    .iter()
                    .try_for_each(|target| write!(f, " >{}", target.subscriber.holder))
            }),
            Mail::Errands(errands) => errands.iter().try_for_each(|errand| show_errand(errand, f)),
            Mail::Credit(bytes) => write!(f, " credit {bytes}"),
        }
    }
}

impl fmt::Display for ShowChanges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|change| match change {
            Change::Subscribe { filter, subscriber, granted, .. } => {
                write!(f, " +{filter} {} q{}", subscriber.holder, granted.grant.qos.value())
            }
            Change::Unsubscribe { filter, subscriber, .. } => {
                write!(f, " -{filter} {}", subscriber.holder)
            }
            Change::Retain { topic, message: Some(message), .. } => {
                write!(f, " ={topic} {}", ShowMessage(message))
            }
            Change::Retain { topic, message: None, .. } => write!(f, " ={topic} cleared"),
            Change::Expire { topic, .. } => write!(f, " ={topic} expired"),
        })
    }
}

impl fmt::Display for ShowMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = self.0.payload();
        let number = payload.split(|byte| *byte == b':').next().unwrap_or_default();
        let topic = self.0.topic();
        write!(f, "{}#{}", topic.as_str(), number.escape_ascii())
    }
}

fn show_errand(errand: &Errand, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match errand {
        Errand::Join { group, subscriber, grant, .. } => {
            write!(f, " join {} {} q{}", group.name, subscriber.holder, grant.qos.value())
        }
        Errand::Leave { group, subscriber, .. } => {
            write!(f, " leave {} {}", group.name, subscriber.holder)
        }
        Errand::Shown(_) => f.write_str(" shown"),
        Errand::Ready { group, subscriber, epoch, credit } => {
            write!(f, " ready {} {} epoch {epoch} takes {credit}", group.name, subscriber.holder)
        }
        Errand::Gone { group, subscriber } => {
            write!(f, " gone {} {}", group.name, subscriber.holder)
        }
        Errand::Lend(lending) => {
            let (message, to) = (ShowMessage(&lending.message), lending.to.holder);
            let position = lending.position.map_or(0, |position| position.0);
            write!(f, " lend {message} @{position} >{to} epoch {}", lending.epoch)
        }
        Errand::Settle(loan) => write!(f, " settle {} of {}", loan.number, loan.group.holder),
        Errand::Return(loan) => write!(f, " return {} of {}", loan.number, loan.group.holder),
    }
}

fn show_operation(operation: &Operation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match operation {
        Operation::Open { client_id, expiry_secs, .. } => {
            write!(f, " open {client_id} {expiry_secs}")
        }
        Operation::Resume { expiry_secs, .. } => write!(f, " resume {expiry_secs}"),
        Operation::Leave { expiry_secs } => write!(f, " leave {expiry_secs}"),
        Operation::Subscribe { filter, subscription } => {
            write!(f, " +{filter} q{}", subscription.options.qos.value())
        }
        Operation::Unsubscribe { filter } => write!(f, " -{filter}"),
        Operation::Sending { delivery, packet_id } => {
            write!(f, " sending {} id {}", ShowDelivery(*delivery), packet_id.value())
        }
        Operation::Holding { packet_id } => write!(f, " holding id {}", packet_id.value()),
        Operation::Reserved { through } => write!(f, " ids {}", through.value()),
        Operation::Freed { packet_id } => write!(f, " freed id {}", packet_id.value()),
        Operation::Had { delivery } => write!(f, " had {}", ShowDelivery(*delivery)),
        Operation::Released { position } => write!(f, " released {}", position.0),
        Operation::Will { .. } => f.write_str(" will"),
        Operation::Found { name, .. } => write!(f, " found {name}"),
        Operation::Handed { position, to, .. } => write!(f, " handed {} to {to}", position.0),
        Operation::WillOver => f.write_str(" will over"),
        Operation::Done { delivery } => write!(f, " done {}", ShowDelivery(*delivery)),
        Operation::End => f.write_str(" end"),
    }
}

struct ShowDelivery(DeliveryId);

impl fmt::Display for ShowDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeliveryId { position, of } = self.0;
        write!(f, "{}", position.0)?;
        of.map_or(Ok(()), |group| write!(f, " of {group}"))
    }
}
