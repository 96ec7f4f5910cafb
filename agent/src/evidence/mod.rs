//! What is kept of an incident while its process is alive: a snapshot, the minutes before it, and the facts around it.
