//! Checkpoints in trouble: a disk without room, two processes at once.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{example, signal};

/// A small file system of its own, where this machine lets us make one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: &Path, kilobytes: u32) -> Option<Self> {
        let size = format!("size={kilobytes}k");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).stderr(Stdio::null());
        mount.status().ok()?.success().then(|| Self(at.to_path_buf()))
    }
}

impl SmallDisk {
    /// Writes until nothing more goes in, but for `spare` bytes.
    fn fill(&self, spare: usize) -> PathBuf {
        let path = self.0.join("ballast");
        let mut bytes = 0;
        while fs::write(&path, vec![0; bytes + 16_384]).is_ok() {
            bytes += 16_384;
        }
        fs::write(&path, vec![0; bytes.saturating_sub(spare)]).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn counted(directory: &Path) -> std::process::Output {
    example("recovery").arg("--directory").arg(directory).output().unwrap()
}

/// The last lines of what the program shows: the counts.
fn table(output: &std::process::Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text[text.find('+').unwrap()..].to_string()
}

#[test]
fn a_full_disk_fails_the_query_with_its_state_unharmed() {
    let directory = TempDir::new().unwrap();
    let checkpoint = directory.path().join("checkpoint");
    fs::create_dir(&checkpoint).unwrap();
    let Some(disk) = SmallDisk::new(&checkpoint, 1024) else {
        println!("not run: this user may not mount a file system");
        return;
    };
    let ballast = disk.fill(100_000);
    let failed = counted(directory.path());
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left") && said.contains("make room") && !said.contains("panicked"), "{said}");
    // Room is made, and the query goes on from what was committed.
    fs::remove_file(ballast).unwrap();
    let resumed = counted(directory.path());
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    let whole = TempDir::new().unwrap();
    assert_eq!(table(&resumed), table(&counted(whole.path())));
}

#[test]
fn of_two_processes_on_one_checkpoint_the_second_is_told_who_has_it() {
    let directory = TempDir::new().unwrap();
    let mut first = example("recovery");
    let first = first.arg("--directory").arg(directory.path()).env("RUST_LOG", "millstream::actor=debug");
    let mut first = first.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut log = BufReader::new(first.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("epoch_committed") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the first ended too early");
    }
    // Nobody reads the log of the first, so that it cannot come to its end.
    let second = counted(directory.path());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&first.id().to_string()) && said.contains("checkpoint"), "{said}");
    signal(&first, "TERM");
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(0), "SIGTERM lets the running epoch be committed");
    let mut third = example("recovery");
    let third =
        third.arg("--directory").arg(directory.path()).env("RUST_LOG", "millstream::actor=debug").output().unwrap();
    let story = String::from_utf8_lossy(&third.stderr).into_owned();
    assert!(third.status.success(), "{story}");
    for event in
        ["event=checkpoint_restored commit=", "event=state_compacted operator=aggregate", "event=snapshot_taken rows="]
    {
        assert!(story.contains(event), "the trace does not tell {event}");
    }
}
