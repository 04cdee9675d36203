use std::time::Duration;

use super::*;
use crate::task::TaskReport;

const SECOND: i64 = 1_000_000;

fn machine(trigger: TriggerKind) -> EpochMachine {
    let mut machine = EpochMachine::new(trigger, BTreeSet::from([TaskId(0), TaskId(1)]), no_watermarks(), 0);
    assert!(machine.offsets.is_empty());
    machine.phase = Phase::Opening;
    machine
}

fn opened(offset: i64) -> Event {
    Event::Opened(Start { offsets: vec![offset.into()], planned: None })
}

fn no_watermarks() -> WatermarkTracker {
    WatermarkTracker::new(WatermarkOptions::default(), Vec::new(), 0)
}

fn ack(task: u32, epoch: Epoch) -> Event {
    Event::Acked(Box::new(EpochAck {
        task: TaskId(task),
        epoch,
        report: TaskReport::default(),
        snapshot: None,
        prepared: None,
    }))
}

fn latest(offset: i64) -> Event {
    Event::Latest(vec![Available { latest: offset.into(), next_poll: NextPoll::OnWake }])
}

/// One word a command.
fn words(commands: &[Command]) -> Vec<String> {
    commands
        .iter()
        .map(|command| match command {
            Command::AskLatest { limit, .. } => format!("ask {limit:?}"),
            Command::Plan(plan) => format!("plan {} to {}", plan.barrier.epoch, plan.to[0]),
            Command::Commit(epoch) => format!("commit {}", epoch.plan.barrier.epoch),
            Command::Sleep(until) => format!("sleep until {until}"),
            Command::Drained(ids) => format!("drained {ids:?}"),
            Command::Idle => "idle".to_string(),
            Command::Finish => "finish".to_string(),
        })
        .collect()
}

fn run(machine: &mut EpochMachine, script: Vec<(i64, Event, &[&str])>) {
    for (now, event, expected) in script {
        let shown = format!("{event:?}");
        assert_eq!(words(&machine.on(event, now)), expected, "after {shown} at {now}");
    }
}

#[test]
fn an_epoch_is_planned_run_acknowledged_and_committed() {
    let mut machine = machine(TriggerKind::Default);
    run(
        &mut machine,
        vec![
            (0, opened(-1), &["ask Options"]),
            (1, latest(4), &["plan 0 to 4"]),
            (2, Event::Planned, &[]),
            (3, ack(0, 0), &[]),
            (3, ack(0, 0), &[]),
            (3, ack(9, 0), &[]),
            (3, ack(1, 7), &[]),
            (4, ack(1, 0), &["commit 0"]),
            (5, Event::Committed, &["ask Options"]),
            (6, latest(4), &["idle"]),
            (7, Event::News, &["ask Options"]),
            (8, Event::News, &[]),
            (9, latest(4), &["idle", "ask Options"]),
        ],
    );
}

#[test]
fn a_processing_time_trigger_keeps_its_rhythm_and_an_overrun_starts_the_next_at_once() {
    let mut machine = machine(TriggerKind::ProcessingTime(Duration::from_secs(10)));
    run(
        &mut machine,
        vec![
            (0, opened(-1), &["ask Options"]),
            (1, latest(0), &["plan 0 to 0"]),
            (2, Event::Planned, &[]),
            (3, ack(0, 0), &[]),
            (3, ack(1, 0), &["commit 0"]),
            (SECOND, Event::Committed, &["sleep until 10000000"]),
            (2 * SECOND, Event::News, &["sleep until 10000000"]),
            (10 * SECOND, Event::Timer, &["ask Options"]),
            (10 * SECOND, latest(1), &["plan 1 to 1"]),
            (10 * SECOND, Event::Planned, &[]),
            (31 * SECOND, ack(0, 1), &[]),
            (31 * SECOND, ack(1, 1), &["commit 1"]),
            (31 * SECOND, Event::Committed, &["ask Options"]),
            (31 * SECOND, latest(1), &["idle", "sleep until 41000000"]),
        ],
    );
}

#[test]
fn available_now_goes_on_until_nothing_is_left_and_once_runs_one_epoch() {
    for (trigger, limit) in [(TriggerKind::AvailableNow, "ask Options"), (TriggerKind::Once, "ask All")] {
        let mut machine = machine(trigger);
        run(
            &mut machine,
            vec![
                (0, opened(-1), &[limit]),
                (1, latest(0), &["plan 0 to 0"]),
                (2, Event::Planned, &[]),
                (3, ack(0, 0), &[]),
                (3, ack(1, 0), &["commit 0"]),
            ],
        );
        let after = machine.on(Event::Committed, 4);
        if trigger == TriggerKind::Once {
            assert_eq!(words(&after), ["finish"]);
        } else {
            assert_eq!(words(&after), [limit]);
            assert_eq!(words(&machine.on(latest(0), 5)), ["idle", "finish"]);
        }
    }
}

#[test]
fn a_stop_inside_an_epoch_waits_for_its_commit() {
    let mut machine = machine(TriggerKind::Default);
    run(
        &mut machine,
        vec![
            (0, opened(-1), &["ask Options"]),
            (1, latest(0), &["plan 0 to 0"]),
            (2, Event::Planned, &[]),
            (2, Event::Stop, &[]),
            (3, ack(0, 0), &[]),
            (3, ack(1, 0), &["commit 0"]),
            (4, Event::Committed, &["finish"]),
        ],
    );
}

/// What happens from a plan to its commit.
fn through(machine: &mut EpochMachine, epoch: Epoch, now: i64) -> Vec<String> {
    machine.on(Event::Planned, now);
    machine.on(ack(0, epoch), now);
    machine.on(ack(1, epoch), now);
    words(&machine.on(Event::Committed, now))
}

#[test]
fn continuous_processing_closes_what_it_left_open_when_the_interval_has_passed_and_at_the_end() {
    let mut machine = machine(TriggerKind::Continuous(Duration::from_secs(1)));
    let is_durable = |commands: &[Command]| match commands {
        [Command::Plan(plan)] => (plan.barrier.kind == BarrierKind::Durable, plan.span.clone().map(|span| span.from)),
        other => panic!("no plan: {other:?}"),
    };
    machine.on(opened(0), 0);
    assert_eq!(is_durable(&machine.on(latest(1), 0)), (true, Some(vec![0.into()])));
    through(&mut machine, 0, 10);
    assert_eq!(is_durable(&machine.on(latest(2), 20)), (false, None));
    through(&mut machine, 1, 30);
    assert_eq!(is_durable(&machine.on(latest(3), 40)), (false, None));
    through(&mut machine, 2, 50);
    assert_eq!(words(&machine.on(latest(3), 60)), ["idle", "sleep until 1000000"]);
    // The interval has passed: one commit for all that came since the last, without asking for more.
    assert_eq!(is_durable(&machine.on(Event::Timer, SECOND)), (true, Some(vec![1.into()])));
    through(&mut machine, 3, SECOND + 1);
    assert_eq!(is_durable(&machine.on(latest(4), SECOND + 2)), (false, None));
    through(&mut machine, 4, SECOND + 3);
    machine.on(Event::Stop, SECOND + 4);
    assert_eq!(is_durable(&machine.on(latest(4), SECOND + 5)), (true, Some(vec![3.into()])));
    assert_eq!(through(&mut machine, 5, SECOND + 6), ["finish"]);
}

#[test]
fn continuous_processing_goes_on_while_a_commit_is_under_way() {
    let mut machine = machine(TriggerKind::Continuous(Duration::from_secs(1)));
    let acked = |machine: &mut EpochMachine, epoch, now| {
        machine.on(Event::Planned, now);
        machine.on(ack(0, epoch), now);
        words(&machine.on(ack(1, epoch), now))
    };
    machine.on(opened(0), 0);
    machine.on(latest(1), 0);
    assert_eq!(acked(&mut machine, 0, 1), ["commit 0", "ask Options"]);
    machine.on(latest(2), 2);
    assert_eq!(acked(&mut machine, 1, 3), ["commit 1", "ask Options"]);
    // The interval has passed, but the first commit has not: no second one.
    assert_eq!(words(&machine.on(latest(2), SECOND)), ["idle"]);
    assert!(machine.on(Event::Timer, 2 * SECOND).is_empty());
    // Who waits for everything waits for the commits first.
    assert!(machine.on(Event::Drain(7), 2 * SECOND).is_empty());
    assert_eq!(words(&machine.on(Event::Committed, 2 * SECOND)), ["plan 2 to 2"]);
    assert!(machine.on(Event::Committed, 2 * SECOND).is_empty());
    assert_eq!(acked(&mut machine, 2, 2 * SECOND), ["commit 2", "ask Options"]);
    assert_eq!(words(&machine.on(latest(2), 2 * SECOND)), ["idle"]);
    assert_eq!(words(&machine.on(Event::Committed, 2 * SECOND)), ["ask Options"]);
    assert_eq!(words(&machine.on(latest(2), 2 * SECOND)), ["idle", "drained [7]"]);
    // A stop waits for what is under way, too.
    machine.on(Event::News, 2 * SECOND);
    machine.on(latest(3), 2 * SECOND + 1);
    acked(&mut machine, 3, 2 * SECOND + 2);
    assert!(machine.on(Event::Stop, 2 * SECOND + 3).is_empty());
    assert!(machine.on(latest(3), 2 * SECOND + 4).is_empty());
    assert_eq!(words(&machine.on(Event::Committed, 2 * SECOND + 5)), ["plan 4 to 3"]);
    assert!(acked(&mut machine, 4, 2 * SECOND + 6).contains(&"commit 4".to_string()));
    assert_eq!(words(&machine.on(Event::Committed, 2 * SECOND + 7)), ["finish"]);
}

/// Rows come without end, and every commit is answered only when the next epoch runs.
#[test]
fn durable_ends_come_at_their_interval_however_steadily_rows_come() {
    let mut machine = machine(TriggerKind::Continuous(Duration::from_secs(1)));
    machine.on(opened(0), 0);
    let mut durable = Vec::new();
    for epoch in 0..50 {
        let now = i64::try_from(epoch).unwrap() * SECOND / 10;
        let commands = machine.on(latest(i64::try_from(epoch).unwrap() + 1), now);
        let plan =
            commands.iter().find_map(|command| if let Command::Plan(plan) = command { Some(plan) } else { None });
        // The close of an interval is planned without asking.
        let kind = plan.map_or(BarrierKind::Durable, |plan| plan.barrier.kind);
        durable.extend((kind == BarrierKind::Durable).then_some(epoch));
        machine.on(Event::Planned, now);
        if epoch > 0 {
            machine.on(Event::Committed, now);
        }
        machine.on(ack(0, epoch), now);
        machine.on(ack(1, epoch), now);
    }
    assert_eq!(durable, [0, 10, 20, 30, 40]);
}

#[test]
fn an_epoch_that_an_earlier_run_planned_runs_first_and_is_not_planned_again() {
    let mut machine = machine(TriggerKind::Default);
    let time = EpochTime { processing_micros: 5, ..EpochTime::default() };
    let (from, to) = (vec![3.into()], vec![6.into()]);
    let span = Some(Span { from: from.clone(), time, has_data: true });
    let barrier = Barrier { epoch: 0, kind: BarrierKind::Durable, has_data: true };
    let plan = EpochPlan { barrier, time, from: from.clone(), to, span, is_replay: true };
    let start = Start { offsets: from, planned: Some(Box::new(plan.clone())) };
    match machine.on(Event::Opened(start), 0).as_slice() {
        [Command::Plan(again)] => assert_eq!(*again, plan),
        other => panic!("{other:?}"),
    }
    assert_eq!(through(&mut machine, 0, 1), ["ask Options"]);
    assert_eq!(words(&machine.on(latest(7), 2)), ["plan 1 to 7"]);
}

#[test]
fn a_clock_that_is_set_back_makes_nobody_wait() {
    let mut schedule = EpochSchedule::new(TriggerKind::ProcessingTime(Duration::from_secs(10)));
    schedule.asked(1000 * SECOND);
    assert!(!schedule.is_due(1005 * SECOND));
    assert!(schedule.is_due(400 * SECOND));
    let mut schedule = EpochSchedule::new(TriggerKind::Continuous(Duration::from_secs(10)));
    assert_eq!(schedule.kind(1000 * SECOND), BarrierKind::Durable);
    assert_eq!(schedule.kind(1001 * SECOND), BarrierKind::Light);
    assert_eq!(schedule.kind(400 * SECOND), BarrierKind::Durable);
    assert_eq!(schedule.kind(401 * SECOND), BarrierKind::Light);
}

#[test]
fn a_drain_is_answered_when_a_look_that_began_after_it_found_nothing() {
    let mut machine = machine(TriggerKind::ProcessingTime(Duration::from_secs(10)));
    run(
        &mut machine,
        vec![
            (0, opened(-1), &["ask Options"]),
            (1, latest(-1), &["idle", "sleep until 10000000"]),
            (2, Event::Drain(7), &["ask Options"]),
            (3, latest(-1), &["idle", "drained [7]", "sleep until 10000000"]),
            (4, Event::Drain(8), &["ask Options"]),
            (5, latest(0), &["sleep until 10000000"]),
            (10 * SECOND, Event::Timer, &["ask Options"]),
            (10 * SECOND, latest(0), &["plan 0 to 0"]),
        ],
    );
}

#[test]
fn a_drain_that_comes_during_a_look_causes_another_look() {
    let mut machine = machine(TriggerKind::Default);
    run(
        &mut machine,
        vec![
            (0, opened(-1), &["ask Options"]),
            (1, Event::Drain(1), &[]),
            (2, latest(-1), &["idle", "ask Options"]),
            (3, latest(-1), &["idle", "drained [1]"]),
        ],
    );
}

#[test]
fn news_that_only_a_drain_found_is_worked_on() {
    let mut machine = machine(TriggerKind::Default);
    run(
        &mut machine,
        vec![
            (0, opened(-1), &["ask Options"]),
            (1, latest(-1), &["idle"]),
            (2, Event::Drain(1), &["ask Options"]),
            (3, latest(0), &["ask Options"]),
            (4, latest(0), &["plan 0 to 0"]),
        ],
    );
}

#[test]
fn sources_that_have_all_ended_end_the_query() {
    let mut machine = machine(TriggerKind::Default);
    run(&mut machine, vec![(0, opened(-1), &["ask Options"])]);
    let ended = Available { latest: (-1).into(), next_poll: NextPoll::Ended };
    assert_eq!(words(&machine.on(Event::Latest(vec![ended]), 1)), ["idle", "finish"]);
}

#[test]
fn a_continuous_query_makes_an_epoch_durable_once_an_interval() {
    let mut schedule = EpochSchedule::new(TriggerKind::Continuous(Duration::from_secs(1)));
    let kinds: Vec<_> = [0, 1, SECOND - 1, SECOND, SECOND + 1].map(|now| schedule.kind(now)).into();
    assert_eq!(
        kinds,
        [BarrierKind::Durable, BarrierKind::Light, BarrierKind::Light, BarrierKind::Durable, BarrierKind::Light]
    );
}

proptest::proptest! {
    /// Acknowledgements in any order, repeated, of strangers and of other epochs: each epoch is committed once, after the last
    /// of its own.
    #[test]
    fn an_epoch_is_committed_exactly_when_its_last_task_has_acknowledged(
        tasks in 1_u32..6,
        acks in proptest::collection::vec((0_u32..8, 0_u64..3), 0..60),
    ) {
        let all: BTreeSet<TaskId> = (0..tasks).map(TaskId).collect();
        let mut machine = EpochMachine::new(TriggerKind::Default, all.clone(), no_watermarks(), 0);
        machine.on(opened(0), 0);
        machine.on(latest(1), 1);
        machine.on(Event::Planned, 2);
        let mut epoch = 0;
        let mut missing = all.clone();
        for (task, of) in acks {
            missing = if of == epoch { missing.into_iter().filter(|id| id.0 != task).collect() } else { missing };
            let committed = words(&machine.on(ack(task, of), 3));
            if !missing.is_empty() {
                proptest::prop_assert!(committed.is_empty());
                proptest::prop_assert_eq!(machine.missing(), missing.iter().copied().collect::<Vec<_>>());
                continue;
            }
            proptest::prop_assert_eq!(committed, [format!("commit {epoch}")]);
            epoch += 1;
            missing.clone_from(&all);
            machine.on(Event::Committed, 4);
            machine.on(latest(i64::try_from(epoch).unwrap() + 1), 5);
            machine.on(Event::Planned, 6);
        }
    }
}

/// A machine over one watermark node, the task 0, with a delay of ten seconds.
fn timed_machine(trigger: TriggerKind) -> EpochMachine {
    let options = WatermarkOptions { no_data_epochs: true, ..WatermarkOptions::default() };
    let node =
        WatermarkNodeSpec { name: "watermark".to_string(), delay: Duration::from_secs(10), tasks: vec![TaskId(0)] };
    let tracker = WatermarkTracker::new(options, vec![node], 0);
    EpochMachine::new(trigger, BTreeSet::from([TaskId(0)]), tracker, 0)
}

/// An acknowledgement of a row at this time.
fn timed_ack(epoch: Epoch, seconds: i64) -> Event {
    let max_ms = seconds * 1000;
    let times = EventTimes { count: 1, min_ms: max_ms, max_ms, ..EventTimes::default() };
    let mut report = TaskReport::default();
    report.operator.event_times = Some(times);
    Event::Acked(Box::new(EpochAck { task: TaskId(0), epoch, report, snapshot: None, prepared: None }))
}

#[test]
fn an_epoch_that_moved_the_watermark_is_followed_by_one_without_input() {
    let mut machine = timed_machine(TriggerKind::Default);
    run(
        &mut machine,
        vec![
            (0, opened(-1), &["ask Options"]),
            (1, latest(4), &["plan 0 to 4"]),
            (2, Event::Planned, &[]),
            (3, Event::Drain(7), &[]),
            (4, timed_ack(0, 60), &["commit 0"]),
            (5, Event::Committed, &["ask Options"]),
            (6, latest(4), &["plan 1 to 4"]),
            (7, Event::Planned, &[]),
            (8, ack(0, 1), &["commit 1"]),
            (9, Event::Committed, &["ask Options"]),
            (10, latest(4), &["idle", "drained [7]"]),
        ],
    );
    assert_eq!(machine.watermarks().next().evict_ms, 50_000);
}

#[test]
fn the_epoch_without_input_waits_for_the_trigger_and_comes_before_the_end() {
    let mut machine = timed_machine(TriggerKind::ProcessingTime(Duration::from_secs(10)));
    run(
        &mut machine,
        vec![
            (0, opened(-1), &["ask Options"]),
            (1, latest(4), &["plan 0 to 4"]),
            (2, Event::Planned, &[]),
            (3, timed_ack(0, 60), &["commit 0"]),
            (4, Event::Committed, &["sleep until 10000000"]),
            (10 * SECOND, Event::Timer, &["ask Options"]),
            (10 * SECOND, latest(4), &["plan 1 to 4"]),
        ],
    );
    let mut machine = timed_machine(TriggerKind::AvailableNow);
    run(
        &mut machine,
        vec![
            (0, opened(-1), &["ask Options"]),
            (1, latest(4), &["plan 0 to 4"]),
            (2, Event::Planned, &[]),
            (3, timed_ack(0, 60), &["commit 0"]),
            (4, Event::Committed, &["ask Options"]),
            (5, latest(4), &["plan 1 to 4"]),
            (6, Event::Planned, &[]),
            (7, ack(0, 1), &["commit 1"]),
            (8, Event::Committed, &["ask Options"]),
            (9, latest(4), &["idle", "finish"]),
        ],
    );
}

#[test]
fn a_single_epoch_is_not_followed_by_one_without_input() {
    let mut machine = timed_machine(TriggerKind::Once);
    run(
        &mut machine,
        vec![
            (0, opened(-1), &["ask All"]),
            (1, latest(4), &["plan 0 to 4"]),
            (2, Event::Planned, &[]),
            (3, timed_ack(0, 60), &["commit 0"]),
            (4, Event::Committed, &["finish"]),
        ],
    );
}

#[test]
fn who_waits_for_everything_does_not_wait_for_the_trigger_of_an_epoch_without_input() {
    let mut machine = timed_machine(TriggerKind::ProcessingTime(Duration::from_secs(10)));
    run(
        &mut machine,
        vec![
            (0, opened(-1), &["ask Options"]),
            (1, latest(4), &["plan 0 to 4"]),
            (2, Event::Planned, &[]),
            (3, timed_ack(0, 60), &["commit 0"]),
            (4, Event::Committed, &["sleep until 10000000"]),
            (5, Event::Drain(1), &["ask Options"]),
            (6, latest(4), &["plan 1 to 4"]),
            (7, Event::Planned, &[]),
            (8, ack(0, 1), &["commit 1"]),
            (9, Event::Committed, &["ask Options"]),
            (10, latest(4), &["idle", "drained [1]", "sleep until 10000000"]),
        ],
    );
}
