//! What tests need: a clock that stands still, and the simulator.
//!
//! Owns: driving the same tasks and the same coordinator as the actors do, on one thread, in an order that a seed decides.

#[cfg(test)]
mod simulation;

pub use crate::clock::ManualClock;
