//! What tests need: a clock that stands still, a kit for connectors of one's own, and the simulator.
//!
//! Owns: driving the same tasks and the same coordinator as the actors do, on one thread, in an order that a seed decides.

#[cfg(test)]
mod simulation;

pub mod conformance;

pub use crate::clock::ManualClock;
