//! The one place that sends actor messages.
//!
//! Owns: fire-and-forget sending. Data under credit and control messages go the same way: mailboxes are unbounded as
//! far as actix is concerned and bounded in fact by the credit windows and the one epoch in flight. A message to an
//! actor that is gone is dropped; that it is gone is told by its sentinel.

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};

/// Sends without waiting.
#[expect(clippy::disallowed_methods, reason = "this is the one place that may send")]
pub(super) fn post<A, M>(to: &Addr<A>, message: M)
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    to.do_send(message);
}

/// Sends without waiting, to whoever handles this message.
#[expect(clippy::disallowed_methods, reason = "this is the one place that may send")]
pub(super) fn post_to<M>(to: &Recipient<M>, message: M)
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    to.do_send(message);
}
