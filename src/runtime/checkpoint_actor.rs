//! The checkpoint actor: carries an epoch's commit out, in order.
//!
//! Owns: the sinks' committers and the order of a commit. Does not own: when to commit (`coordinator`).
//!
//! 1 all tasks have acknowledged the epoch, so all rows are prepared at the sinks; 2 the sinks publish what they prepared,
//! in the order of their nodes. A failure fails the query; what was published stays published.

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};

use super::coordinator_actor::{CoordinatorActor, Report};
use super::io_pool::{IoPool, contained};
use super::post::post;
use crate::connector::{Prepared, SinkCommitter};
use crate::error::{Error, Result};
use crate::protocol::Epoch;

/// Commit an epoch: what each sink's writers prepared, sink by sink.
#[derive(Debug)]
pub(super) struct CommitEpoch {
    pub epoch: Epoch,
    pub prepared: Vec<Vec<Prepared>>,
}

struct Published {
    epoch: Epoch,
    committers: Vec<Box<dyn SinkCommitter>>,
    result: Result<()>,
}

impl Message for CommitEpoch {
    type Result = ();
}

impl Message for Published {
    type Result = ();
}

/// Commits the epochs of one query.
pub(super) struct CheckpointActor {
    /// `None` while they are at work on the IO pool.
    committers: Option<Vec<Box<dyn SinkCommitter>>>,
    coordinator: Addr<CoordinatorActor>,
    io: IoPool,
}

impl CheckpointActor {
    pub(super) fn new(
        committers: Vec<Box<dyn SinkCommitter>>,
        coordinator: Addr<CoordinatorActor>,
        io: IoPool,
    ) -> Self {
        Self { committers: Some(committers), coordinator, io }
    }
}

impl Actor for CheckpointActor {
    type Context = Context<Self>;
}

impl Handler<CommitEpoch> for CheckpointActor {
    type Result = ();

    fn handle(&mut self, commit: CommitEpoch, ctx: &mut Self::Context) {
        let Some(mut committers) = self.committers.take() else {
            let error = Error::internal(format!("epoch {} was to be committed inside another commit", commit.epoch));
            return post(&self.coordinator, Report::Committed(commit.epoch, Err(error)));
        };
        let me = ctx.address();
        self.io.submit(move || {
            let result = contained("a sink's commit", || publish(&mut committers, &commit));
            post(&me, Published { epoch: commit.epoch, committers, result });
        });
    }
}

fn publish(committers: &mut [Box<dyn SinkCommitter>], commit: &CommitEpoch) -> Result<()> {
    let sinks = committers.iter_mut().zip(&commit.prepared);
    sinks.into_iter().try_for_each(|(committer, prepared)| committer.commit(commit.epoch, prepared))
}

impl Handler<Published> for CheckpointActor {
    type Result = ();

    fn handle(&mut self, published: Published, _: &mut Self::Context) {
        self.committers = Some(published.committers);
        post(&self.coordinator, Report::Committed(published.epoch, published.result));
    }
}
