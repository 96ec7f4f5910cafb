//! `holdup agent`: real programs that pile up, hang, move or idle; and an agent whose surroundings fail in every way.

mod command;
mod faults;
mod idle;
mod outside;
mod pile_up;
mod restart;
pub mod scene;
