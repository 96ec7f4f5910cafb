//! Readers and writers.

use anyhow::Result;

use super::{answers::at_the_holder, scene::Scene};

#[test]
fn readers_behind_a_writer() -> Result<()> {
    let scene = Scene::of(&["readers"])?;
    let explanation = at_the_holder(&scene, "rwlock_read", &["blocked"], "stuck")?;
    explanation.says(&[
        "3 threads wait for rwlock `table_lock`",
        "which waits for a signal in pause()",
    ])?;
    scene.end()
}

/// Readers and writers are two rows of one lock; each has the explanation, and nobody counts twice.
#[test]
fn readers_and_writers_behind_a_writer() -> Result<()> {
    let scene = Scene::of(&["readers_and_writers"])?;
    for kind in ["rwlock_read", "rwlock_write"] {
        let explanation = at_the_holder(&scene, kind, &["blocked"], "stuck")?;
        explanation.says(&["5 threads wait for rwlock `table_lock`"])?;
    }
    scene.end()
}
