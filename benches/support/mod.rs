//! What the benches share: made-up words by Zipf's law, time, medians.

#![allow(dead_code, reason = "no bench uses all of it")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::cast_precision_loss, reason = "draws and rates are estimates")]

use std::time::Instant;

/// How many made-up words there are.
pub(crate) const VOCABULARY: usize = 100_000;

/// Words drawn by Zipf's law (exponent 1), the same ones for the same seed.
pub(crate) struct Words {
    state: u64,
    vocabulary: Vec<Vec<u8>>,
    cumulative: Vec<f64>,
}

impl Words {
    /// The words and draws of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed;
        let letter = |state: &mut u64| b'a' + (next(state) % 26) as u8;
        let vocabulary = (0..VOCABULARY).map(|_| (0..3 + next(&mut state) % 7).map(|_| letter(&mut state)).collect());
        let vocabulary = vocabulary.collect();
        let mut cumulative: Vec<f64> = Vec::with_capacity(VOCABULARY);
        for rank in 1..=VOCABULARY {
            cumulative.push(cumulative.last().copied().unwrap_or(0.0) + 1.0 / rank as f64);
        }
        Self { state, vocabulary, cumulative }
    }

    /// The next word.
    pub(crate) fn draw(&mut self) -> &[u8] {
        let total = self.cumulative[VOCABULARY - 1];
        let draw = (next(&mut self.state) >> 11) as f64 / (1_u64 << 53) as f64 * total;
        let rank = self.cumulative.partition_point(|bound| *bound < draw);
        &self.vocabulary[rank.min(VOCABULARY - 1)]
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        next(&mut self.state) % bound
    }
}

/// Splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What `work` gives, and the seconds it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The size asked for: `--lines N`, or `small` with `--small`, or `usual`.
pub(crate) fn lines(small: usize, usual: usize) -> usize {
    let arguments: Vec<String> = std::env::args().collect();
    let is_small = arguments.iter().any(|argument| argument == "--small");
    let given = arguments.iter().skip_while(|argument| *argument != "--lines").nth(1);
    given.map_or(if is_small { small } else { usual }, |lines| lines.parse().expect("--lines is a number"))
}

/// Prints the rates of both programs and their ratio.
pub(crate) fn report(lines: usize, ours: Vec<f64>, theirs: Vec<f64>) {
    let rate = |seconds: f64| lines as f64 / seconds / 1e6;
    let (ours, theirs) = (median(ours), median(theirs));
    println!("purpose-written, 2 threads: {:.2} M lines/s", rate(theirs));
    println!("millstream:                 {:.2} M lines/s", rate(ours));
    println!("ratio:                      {:.2}", theirs / ours);
}

/// The most memory this process has held so far, in megabytes, where the system tells.
pub(crate) fn peak_memory_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes / 1000)
}
