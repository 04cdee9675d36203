//! Source, operator and sink actors: one shell around the three kinds of tasks.
//!
//! Owns: mailboxes, carrying out a task's effects, catching its panics and saying when it is gone. Does not own: what
//! the task does.

use std::sync::Arc;

use actix::{Actor, ActorContext, Addr, Context, Handler, Message, Recipient};

use super::coordinator_actor::{CoordinatorActor, Report, Waits};
use super::io_pool::{IoPool, contained};
use super::post::{post, post_to};
use crate::clock::Clock;
use crate::error::Result;
use crate::observability::trace::{self, ActorPath};
use crate::protocol::credit::Grant;
use crate::task::{BeginEpoch, Effect, Fetched, OperatorTask, Peer, Progress, SinkDone, SinkTask, SourceTask, TaskId};

/// A task reads rows of a source.
pub(super) type SourceActor = TaskActor<SourceTask>;
/// A task runs an operator, or the exchange in front of one.
pub(super) type OperatorActor = TaskActor<OperatorTask>;
/// A task writes rows to a sink.
pub(super) type SinkActor = TaskActor<SinkTask>;

/// A message of the stream on its way to a task's input channel.
#[derive(Debug)]
pub(super) struct Packet {
    channel: usize,
    message: crate::protocol::Message,
}

/// Credit on its way back to a task's output channel.
#[derive(Debug)]
pub(super) struct CreditNote {
    channel: usize,
    grant: Grant,
}

/// The addresses of all tasks, by number; the first message a task gets.
#[derive(Clone)]
pub(super) struct Wire(pub Arc<Vec<TaskAddress>>);

/// An epoch begins at a source.
#[derive(Debug)]
pub(super) struct Begin(pub BeginEpoch);

/// No further epoch comes: send the end on and stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish;

/// Stop now; the task reports that it is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Abort;

/// Say whom you wait for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inspect;

struct FetchDone(Result<Fetched>);
struct WriteDone(Result<SinkDone>);

macro_rules! messages {
    ($($name:ident),*) => {$(
        impl Message for $name {
            type Result = ();
        }
    )*};
}
messages!(Packet, CreditNote, Wire, Begin, Finish, Abort, Inspect, FetchDone, WriteDone);

/// How to reach a task.
#[derive(Clone)]
pub(super) struct TaskAddress {
    /// Its path, for traces.
    pub name: String,
    /// `None` for a source, which has no inputs.
    pub packets: Option<Recipient<Packet>>,
    /// `None` for a sink, which has no outputs.
    pub credits: Option<Recipient<CreditNote>>,
    pub abort: Recipient<Abort>,
    pub inspect: Recipient<Inspect>,
    pub wire: Recipient<Wire>,
}

/// What a task needs besides its work.
#[derive(Clone)]
pub(super) struct TaskContext {
    pub id: TaskId,
    pub path: ActorPath,
    pub coordinator: Addr<CoordinatorActor>,
    pub io: IoPool,
    pub clock: Arc<dyn Clock>,
}

/// What the shell asks of any task.
pub(super) trait Task: Send + Unpin + Sized + 'static {
    fn step(&mut self, effects: &mut Vec<Effect>) -> Result<Progress>;

    fn waits(&self) -> Waits;

    /// The actor ends: work that blocks and is left to do. Most tasks have none.
    fn last_work(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        None
    }

    /// Starts work that blocks and will answer to this actor. Most tasks have none.
    fn start_blocking(effect: Effect, context: &TaskContext, ctx: &mut Context<TaskActor<Self>>) {
        let _ = (context, ctx);
        debug_assert!(false, "a task without blocking work asked for {effect:?}");
    }
}

/// Tells the coordinator that its task is gone, however it went.
struct Sentinel(TaskContext);

impl Drop for Sentinel {
    fn drop(&mut self) {
        post(&self.0.coordinator, Report::Gone(self.0.id));
    }
}

/// Runs one task.
pub(super) struct TaskActor<T: Task> {
    task: T,
    peers: Arc<Vec<TaskAddress>>,
    effects: Vec<Effect>,
    sentinel: Sentinel,
}

impl<T: Task> TaskActor<T> {
    pub(super) fn new(task: T, context: TaskContext) -> Self {
        Self { task, peers: Arc::default(), effects: Vec::new(), sentinel: Sentinel(context) }
    }

    /// Handles one event, then lets the task work until it is idle. That is bounded: by the credit of its inputs and outputs.
    fn handle_event(&mut self, ctx: &mut Context<Self>, event: impl FnOnce(&mut T, &mut Vec<Effect>) -> Result<()>) {
        let result = contained("an operator", || {
            event(&mut self.task, &mut self.effects)?;
            while self.task.step(&mut self.effects)? == Progress::Worked {
                self.carry_out(ctx);
            }
            self.carry_out(ctx);
            Ok(())
        });
        if let Err(error) = result {
            let context = &self.sentinel.0;
            post(&context.coordinator, Report::Fault(context.id, error));
            ctx.stop();
        }
    }

    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(to, message) => self.send(to, message),
                Effect::Credit(to, grant) => self.credit(to, grant),
                Effect::Ack(ack) => {
                    trace::acked(&self.sentinel.0.path, &ack);
                    post(&self.sentinel.0.coordinator, Report::Ack(ack));
                }
                Effect::Fetch(_) | Effect::Write(_) => T::start_blocking(effect, &self.sentinel.0, ctx),
                Effect::Ended => ctx.stop(),
            }
        }
        self.effects = effects;
    }

    fn send(&self, to: Peer, message: crate::protocol::Message) {
        let Some(peer) = self.peers.get(to.task.0 as usize) else { return };
        trace::sent(&self.sentinel.0.path, &peer.name, &message);
        if let Some(packets) = &peer.packets {
            post_to(packets, Packet { channel: to.channel, message });
        }
    }

    fn credit(&self, to: Peer, grant: Grant) {
        let Some(peer) = self.peers.get(to.task.0 as usize) else { return };
        trace::granted(&self.sentinel.0.path, &peer.name, grant);
        if let Some(credits) = &peer.credits {
            post_to(credits, CreditNote { channel: to.channel, grant });
        }
    }
}

impl<T: Task> Actor for TaskActor<T> {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        trace::lifecycle(&self.sentinel.0.path, "started");
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if let Some(work) = self.task.last_work() {
            self.sentinel.0.io.submit(work);
        }
        trace::lifecycle(&self.sentinel.0.path, "stopped");
    }
}

impl<T: Task> Handler<Wire> for TaskActor<T> {
    type Result = ();

    fn handle(&mut self, wire: Wire, _: &mut Self::Context) {
        self.peers = wire.0;
    }
}

impl<T: Task> Handler<Abort> for TaskActor<T> {
    type Result = ();

    fn handle(&mut self, _: Abort, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl<T: Task> Handler<Inspect> for TaskActor<T> {
    type Result = ();

    fn handle(&mut self, _: Inspect, _: &mut Self::Context) {
        let context = &self.sentinel.0;
        post(&context.coordinator, Report::Waits(context.id, self.task.waits()));
    }
}

/// Implements the handlers of tasks with input channels.
macro_rules! takes_packets {
    ($($task:ty),*) => {$(
        impl Handler<Packet> for TaskActor<$task> {
            type Result = ();

            fn handle(&mut self, packet: Packet, ctx: &mut Self::Context) {
                self.handle_event(ctx, |task, _| task.receive(packet.channel, packet.message));
            }
        }
    )*};
}
takes_packets!(OperatorTask, SinkTask);

/// Implements the handlers of tasks with output channels.
macro_rules! takes_credit {
    ($($task:ty),*) => {$(
        impl Handler<CreditNote> for TaskActor<$task> {
            type Result = ();

            fn handle(&mut self, note: CreditNote, ctx: &mut Self::Context) {
                self.handle_event(ctx, |task, _| {
                    task.refill(note.channel, note.grant);
                    Ok(())
                });
            }
        }
    )*};
}
takes_credit!(SourceTask, OperatorTask);

impl Task for OperatorTask {
    fn step(&mut self, effects: &mut Vec<Effect>) -> Result<Progress> {
        Self::step(self, effects)
    }

    fn waits(&self) -> Waits {
        let (receivers, senders) = self.waits_for();
        Waits { receivers, senders, outside: None }
    }
}

impl Task for SourceTask {
    fn step(&mut self, effects: &mut Vec<Effect>) -> Result<Progress> {
        Self::step(self, effects)
    }

    fn waits(&self) -> Waits {
        let outside = self.is_reading().then_some("reading");
        Waits { receivers: self.waits_for(), senders: Vec::new(), outside }
    }

    fn start_blocking(effect: Effect, context: &TaskContext, ctx: &mut Context<TaskActor<Self>>) {
        if let (Effect::Fetch(reader), me) = (effect, actix::AsyncContext::address(ctx)) {
            context.io.submit(move || post(&me, FetchDone(contained("a source's reader", || reader.fetch()))));
        }
    }
}

impl Task for SinkTask {
    fn step(&mut self, effects: &mut Vec<Effect>) -> Result<Progress> {
        Self::step(self, effects)
    }

    fn waits(&self) -> Waits {
        Waits { outside: self.is_writing().then_some("writing"), ..Waits::default() }
    }

    fn last_work(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        let writer = self.take_open_writer()?;
        Some(Box::new(move || drop(writer)))
    }

    fn start_blocking(effect: Effect, context: &TaskContext, ctx: &mut Context<TaskActor<Self>>) {
        if let (Effect::Write(job), me) = (effect, actix::AsyncContext::address(ctx)) {
            let clock = Arc::clone(&context.clock);
            let write = move || contained("a sink's writer", || job.run(|| clock.now_micros()));
            context.io.submit(move || post(&me, WriteDone(write())));
        }
    }
}

impl Handler<Begin> for SourceActor {
    type Result = ();

    fn handle(&mut self, begin: Begin, ctx: &mut Self::Context) {
        self.handle_event(ctx, |task, _| task.begin(begin.0));
    }
}

impl Handler<Finish> for SourceActor {
    type Result = ();

    fn handle(&mut self, _: Finish, ctx: &mut Self::Context) {
        self.handle_event(ctx, |task, _| {
            task.end();
            Ok(())
        });
    }
}

impl Handler<FetchDone> for SourceActor {
    type Result = ();

    fn handle(&mut self, done: FetchDone, ctx: &mut Self::Context) {
        self.handle_event(ctx, |task, _| {
            task.fetched(done.0?);
            Ok(())
        });
    }
}

impl Handler<WriteDone> for SinkActor {
    type Result = ();

    fn handle(&mut self, done: WriteDone, ctx: &mut Self::Context) {
        self.handle_event(ctx, |task, effects| {
            task.written(done.0?, effects);
            Ok(())
        });
    }
}

/// The addresses of an actor with inputs and outputs.
pub(super) fn operator_address(name: String, address: &Addr<OperatorActor>) -> TaskAddress {
    TaskAddress {
        packets: Some(address.clone().recipient()),
        credits: Some(address.clone().recipient()),
        ..control_address(name, address)
    }
}

/// The addresses of an actor with outputs only.
pub(super) fn source_address(name: String, address: &Addr<SourceActor>) -> TaskAddress {
    TaskAddress { credits: Some(address.clone().recipient()), ..control_address(name, address) }
}

/// The addresses of an actor with inputs only.
pub(super) fn sink_address(name: String, address: &Addr<SinkActor>) -> TaskAddress {
    TaskAddress { packets: Some(address.clone().recipient()), ..control_address(name, address) }
}

fn control_address<T: Task>(name: String, address: &Addr<TaskActor<T>>) -> TaskAddress {
    TaskAddress {
        name,
        packets: None,
        credits: None,
        abort: address.clone().recipient(),
        inspect: address.clone().recipient(),
        wire: address.clone().recipient(),
    }
}
