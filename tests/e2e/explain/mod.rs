//! Why a lock is held up, down to the root: one scenario for each thing that a holder can do, with an answer that the
//! workload (`holdup_chain.c`, `holdup_states.c`, `queues.c`) knows.
//!
//! In every scenario a thread of the target naps and looks at the clock, so that a target that was stopped or slowed by
//! the look is noticed: see [`scene::Scene::end`].

mod answers;
mod chains;
mod circles;
mod disk;
mod nobody;
mod queues;
mod rwlock;
mod scene;
mod states;
mod system_calls;
