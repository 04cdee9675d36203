//! Reads the imports of `src` and fails when an arrow points up.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Lines of code under `src` that hold one of `words`, outside `allowed`, as `file: line`.
fn strays(words: &[&str], rooms: &[&str], allowed: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut strays = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        let is_in = |places: &[&str]| places.iter().any(|place| name.starts_with(place));
        if (!rooms.is_empty() && !is_in(rooms)) || is_in(allowed) || name.contains("tests") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        let bad = lines.filter(|line| words.iter().any(|word| line.contains(word)));
        strays.extend(bad.map(|line| format!("{name}: {line}")));
    }
    strays
}

const PURE: [&str; 6] = ["protocol/", "operator/", "state/", "task/", "coordinator/", "checkpoint/"];

#[test]
fn only_the_runtime_names_actix() {
    assert_eq!(strays(&["actix::", "use actix"], &[], &["runtime/"]), Vec::<String>::new());
}

#[test]
fn only_the_datafusion_planner_names_datafusion() {
    assert_eq!(
        strays(&["use datafusion", " datafusion::"], &[], &["plan/datafusion/", "plan/mod.rs"]),
        Vec::<String>::new()
    );
}

#[test]
fn the_pure_layers_know_no_thread_clock_channel_or_file() {
    let words = [
        "std::thread",
        "std::fs",
        "std::net",
        "std::time::Instant",
        "SystemTime",
        "crossbeam",
        "tokio",
        "actix",
        "rand::",
    ];
    assert_eq!(strays(&words, &PURE, &[]), Vec::<String>::new());
}

#[test]
fn the_pure_layers_look_neither_at_the_plan_nor_at_the_user_interface() {
    let words = ["crate::plan", "crate::session", "crate::dataframe", "crate::runtime", "crate::query"];
    assert_eq!(strays(&words, &PURE, &[]), Vec::<String>::new());
}

#[test]
fn only_the_clock_asks_for_the_time() {
    assert_eq!(strays(&["Instant::now", "SystemTime::now", "Utc::now"], &[], &["clock.rs"]), Vec::<String>::new());
}
