//! Whole lives: views go in, events come out.

mod faults;
mod fixture;
mod growth;
mod hysteresis;
mod idle;
mod life;
mod quiet;
mod random;
mod restart;
mod rules;
mod sentences;
mod verdict;
