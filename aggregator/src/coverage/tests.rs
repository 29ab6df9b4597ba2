//! Scripts of what agents say and what coverage makes of it. Times are seconds.

use super::*;

const SECOND: u64 = 1_000_000_000;
/// A time of this century, so that nothing is near zero.
const START: u64 = 1_700_000_000;

/// A script: agents speak, time passes, and the report is looked at.
struct Script {
    coverage: Coverage,
    now: u64,
}

fn at(seconds: u64) -> u64 {
    (START + seconds) * SECOND
}

fn id(number: u8) -> AgentId {
    AgentId::from_slice(&[number; 16]).expect("16 bytes")
}

fn script(regions: &[&str]) -> Script {
    let regions = regions.iter().map(|region| (*region).to_owned()).collect();
    Script {
        coverage: Coverage::new(CoverageConfig::default(), regions),
        now: 0,
    }
}

impl Script {
    fn hello(&self, agent: u8, region: &str, last_alive: Option<u64>) {
        self.hello_of(agent, region, last_alive, self.now, 0);
    }

    fn hello_of(&self, agent: u8, region: &str, last_alive: Option<u64>, started: u64, fast: u64) {
        let hello = Hello {
            region: region.to_owned(),
            node: format!("node-{agent}"),
            last_alive_unix_nanos: last_alive.map_or(0, |time| at(time + fast)),
            started_unix_nanos: at(started + fast),
            now_unix_nanos: at(self.now + fast),
            ..Hello::default()
        };
        self.coverage.hello(id(agent), &hello, at(self.now));
    }

    fn beat(&self, agent: u8, watermark: u64, fast: u64) {
        let heartbeat = Heartbeat {
            watermark_unix_nanos: at(watermark + fast),
            now_unix_nanos: at(self.now + fast),
            ..Heartbeat::default()
        };
        self.coverage.heartbeat(id(agent), &heartbeat, at(self.now));
    }

    /// Time passes, second by second, while these agents deliver `rows` each second.
    fn live(&mut self, until: u64, agents: &[u8], rows: usize) {
        while self.now < until {
            self.now += 1;
            for agent in agents {
                self.beat(*agent, self.now, 0);
                let (agent, now) = (id(*agent), at(self.now));
                self.coverage
                    .batch(agent, Signal::Spans, Lane::Live, self.now, now, rows, now);
            }
            self.coverage.tick(at(self.now));
        }
    }

    fn report(&self) -> Report {
        self.coverage.report(at(self.now), None, Window::default())
    }

    fn region(&self, name: &str) -> RegionReport {
        self.report()
            .regions
            .into_iter()
            .find(|region| region.region == name)
            .expect("listed")
    }
}

#[test]
fn a_region_that_never_reported_is_silent_and_null() {
    let script = script(&["eu", "us"]);
    let report = script.report();
    assert_eq!(report.status, Status::Unknown);
    assert_eq!(report.complete_to, None);
    let silent = &report.regions[1];
    assert_eq!(
        (silent.state, silent.completeness, silent.complete_to),
        (RegionState::Silent, None, None)
    );
    let window = Window {
        from: Some(at(0)),
        to: Some(at(9)),
    };
    let asked = script.coverage.report(at(10), None, window);
    assert_eq!(
        asked.regions[0].gaps,
        [GapReport {
            from: at(0),
            to: Some(at(9)),
            share: None
        }]
    );
}

#[test]
fn agents_that_report_make_a_region_complete_up_to_the_settling_time() {
    let mut script = script(&["eu"]);
    script.hello(1, "eu", None);
    script.hello(2, "eu", None);
    script.live(60, &[1, 2], 10);
    let report = script.report();
    assert_eq!((report.status, report.complete_to), (Status::Ok, Some(at(50))));
    assert_eq!(report.warnings, Vec::<String>::new());
    let region = &report.regions[0];
    assert_eq!(
        (
            region.agents_reporting,
            region.agents_expected,
            region.completeness
        ),
        (2, 2, Some(1.0))
    );
}

#[test]
fn the_least_watermark_decides() {
    let mut script = script(&["eu"]);
    script.hello(1, "eu", None);
    script.hello(2, "eu", None);
    script.live(30, &[1], 10);
    script.beat(2, 18, 0);
    assert_eq!(script.region("eu").complete_to, Some(at(8)));
}

#[test]
fn a_region_whose_agents_fall_silent_leaves_ok_within_twenty_seconds() {
    let mut script = script(&["eu", "us"]);
    script.hello(1, "eu", None);
    script.hello(2, "us", None);
    script.live(100, &[1, 2], 10);
    script.live(120, &[1], 10);
    let report = script.report();
    assert_eq!(report.status, Status::Partial);
    let us = &report.regions[1];
    assert_eq!(
        (us.state, us.completeness, us.complete_to),
        (RegionState::Silent, None, Some(at(90)))
    );
    assert_eq!(
        us.gaps,
        [GapReport {
            from: at(100),
            to: None,
            share: Some(1.0)
        }]
    );
    assert_eq!(report.complete_to, Some(at(90)));
}

#[test]
fn one_silent_agent_of_several_makes_the_region_late_and_keeps_its_share_missing() {
    let mut script = script(&["eu"]);
    for agent in 1..=4 {
        script.hello(agent, "eu", None);
    }
    script.live(100, &[1, 2, 3, 4], 10);
    script.live(130, &[1, 2, 3], 10);
    let region = script.region("eu");
    assert_eq!(
        (region.state, region.completeness),
        (RegionState::Late, Some(0.75))
    );
    assert_eq!((region.agents_reporting, region.agents_expected), (3, 4));
    let share = region.gaps[0].share.expect("a share");
    assert!((share - 0.25).abs() < 0.05, "{share}");
}

#[test]
fn an_agent_that_was_dead_leaves_its_absence_as_a_gap_for_good() {
    let mut script = script(&["eu"]);
    script.hello(1, "eu", None);
    script.live(100, &[1], 10);
    script.now = 130;
    script.hello(1, "eu", Some(100));
    script.live(300, &[1], 10);
    let region = script.region("eu");
    assert_eq!(region.state, RegionState::Ok);
    assert_eq!(
        region.gaps,
        [GapReport {
            from: at(100),
            to: Some(at(130)),
            share: Some(1.0)
        }]
    );
    assert_eq!(script.report().status, Status::Partial);
    // A question about another time is not touched by it.
    let later = Window {
        from: Some(at(200)),
        to: Some(at(280)),
    };
    assert_eq!(script.coverage.report(at(300), None, later).status, Status::Ok);
    // The same process that reconnects adds nothing.
    script.hello_of(1, "eu", Some(100), 130, 0);
    assert_eq!(script.region("eu").gaps.len(), 1);
}

#[test]
fn what_was_spooled_while_the_region_was_cut_off_fills_its_own_hole() {
    let mut script = script(&["eu"]);
    script.hello(1, "eu", None);
    script.live(100, &[1], 10);
    script.now = 200;
    script.coverage.tick(at(200));
    assert_eq!(
        script.region("eu").gaps,
        [GapReport {
            from: at(100),
            to: None,
            share: Some(1.0)
        }]
    );
    // It is back and delivers from where it was.
    script.hello_of(1, "eu", None, 0, 0);
    script.beat(1, 140, 0);
    assert_eq!(
        script.region("eu").gaps,
        [GapReport {
            from: at(140),
            to: None,
            share: Some(1.0)
        }]
    );
    assert_eq!(script.region("eu").state, RegionState::Late);
    script.live(210, &[1], 10);
    assert_eq!(
        (script.region("eu").gaps.len(), script.report().status),
        (0, Status::Ok)
    );
}

#[test]
fn a_stall_that_the_agent_noticed_is_a_gap_for_good() {
    let mut script = script(&["eu"]);
    script.hello(1, "eu", None);
    script.live(100, &[1], 10);
    script.now = 140;
    let gap = meridian_proto::stream::Gap {
        from_unix_nanos: at(100),
        to_unix_nanos: at(140),
        reason: "stalled".into(),
    };
    let heartbeat = Heartbeat {
        watermark_unix_nanos: at(140),
        now_unix_nanos: at(140),
        gaps: vec![gap],
        ..Heartbeat::default()
    };
    script.coverage.heartbeat(id(1), &heartbeat, at(140));
    script.live(200, &[1], 10);
    assert_eq!(
        script.region("eu").gaps,
        [GapReport {
            from: at(100),
            to: Some(at(140)),
            share: Some(1.0)
        }]
    );
}

#[test]
fn an_agent_that_said_goodbye_is_expected_no_more_unless_something_is_left() {
    let mut script = script(&["eu"]);
    script.hello(1, "eu", None);
    script.hello(2, "eu", None);
    script.live(100, &[1, 2], 10);
    script.coverage.goodbye(id(2), 0, at(100));
    script.live(200, &[1], 10);
    let region = script.region("eu");
    assert_eq!(
        (region.state, region.agents_expected, region.complete_to),
        (RegionState::Ok, 1, Some(at(190)))
    );
    assert_eq!(script.report().status, Status::Ok);
    // Its return after a clean end is no gap.
    script.hello(2, "eu", Some(100));
    script.live(210, &[1, 2], 10);
    assert_eq!(script.region("eu").gaps, []);
    script.coverage.goodbye(id(2), 7, at(210));
    script.live(240, &[1], 10);
    assert_eq!(
        (script.region("eu").agents_expected, script.region("eu").state),
        (2, RegionState::Late)
    );
}

#[test]
fn nothing_is_known_of_the_future() {
    let mut script = script(&["eu"]);
    script.hello(1, "eu", None);
    script.live(100, &[1], 10);
    let window = |from, to| Window {
        from: Some(at(from)),
        to: Some(at(to)),
    };
    let status = |window| script.coverage.report(at(100), None, window).status;
    assert_eq!(status(window(200, 300)), Status::Unknown);
    assert_eq!(status(window(50, 300)), Status::Ok);
}

#[test]
fn an_agent_that_is_gone_from_an_idle_region_is_missed_because_no_traffic_proves_nothing() {
    let mut script = script(&["eu"]);
    script.hello(1, "eu", None);
    script.hello(2, "eu", None);
    script.live(100, &[1, 2], 0);
    script.live(2_000, &[1], 0);
    let region = script.region("eu");
    assert_eq!((region.agents_expected, region.state), (2, RegionState::Late));
    assert_eq!(region.complete_to, Some(at(90)));
}

#[test]
fn the_hole_of_an_agent_that_left_is_its_share_and_not_the_whole_region() {
    let mut script = script(&["eu"]);
    script.hello(1, "eu", None);
    script.hello(2, "eu", None);
    script.live(100, &[1, 2], 10);
    script.now = 130;
    script.hello(2, "eu", Some(100));
    script.live(300, &[1, 2], 10);
    script.coverage.goodbye(id(2), 0, at(300));
    script.live(320, &[1], 10);
    let share = script.region("eu").gaps[0].share.expect("a share");
    assert!((share - 0.5).abs() < 0.1, "{share}");
}

#[test]
fn an_agent_that_is_gone_is_missed_until_the_traffic_is_back_without_it() {
    let mut script = script(&["eu"]);
    script.hello(1, "eu", None);
    script.hello(2, "eu", None);
    script.live(300, &[1, 2], 100);
    // The other one does not take over: it stays missed, however long.
    script.live(1_200, &[1], 100);
    let region = script.region("eu");
    assert_eq!(
        (region.agents_expected, region.state, region.complete_to),
        (2, RegionState::Late, Some(at(290)))
    );
    assert!(
        script
            .report()
            .warnings
            .iter()
            .any(|warning| warning.contains("node-2") && warning.contains("gone"))
    );
    // Now it does.
    script.live(2_000, &[1], 200);
    let region = script.region("eu");
    assert_eq!((region.agents_expected, region.state), (1, RegionState::Ok));
    assert_eq!(region.complete_to, Some(at(1_990)));
    // The hole from its death to then stays.
    assert_eq!(region.gaps[0].from, at(300));
    assert!(
        region.gaps[0]
            .to
            .is_some_and(|to| to > at(1_200) && to < at(2_000))
    );
}

#[test]
fn a_clock_that_is_five_minutes_fast_completes_nothing_in_the_future() {
    let mut script = script(&["eu"]);
    script.hello_of(1, "eu", None, 0, 300);
    for _ in 0..60 {
        script.now += 1;
        script.beat(1, script.now, 300);
        script.coverage.tick(at(script.now));
    }
    let report = script.report();
    assert_eq!(report.complete_to, Some(at(50)));
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.contains("node-1") && warning.contains("300.0 s ahead"))
    );
    script.now = 90;
    assert_eq!(script.region("eu").complete_to, Some(at(50)));
}

#[test]
fn a_clock_that_was_an_hour_fast_hides_no_silence() {
    let mut script = script(&["eu", "us"]);
    script.hello(1, "eu", None);
    script.hello(2, "us", None);
    script.live(20, &[1, 2], 10);
    script.now = 3_620;
    script.live(3_640, &[1, 2], 10);
    script.now = 40; // `us` dies, and the clock is set right.
    script.live(60, &[1], 10);
    let (alive, dead) = (script.region("eu"), script.region("us"));
    assert_eq!((alive.state, dead.state), (RegionState::Ok, RegionState::Silent));
    assert!(alive.complete_to.is_some_and(|to| to <= at(50) && to > at(45)));
    assert!(dead.last_seen.is_some_and(|seen| seen <= at(41) && seen > at(35)));
    assert!(dead.complete_to.is_some_and(|to| to <= at(31)));
    assert!(script.coverage.agents(at(60))[1].watermark <= Some(at(60)));
}

#[test]
fn an_agent_whose_clock_was_set_back_was_absent_since_it_was_last_heard() {
    let mut script = script(&["eu"]);
    script.hello(1, "eu", None);
    script.live(20, &[1], 10);
    script.now = 100;
    script.hello_of(1, "eu", Some(3_620), 90, 0);
    script.live(200, &[1], 10);
    let gaps = script.region("eu").gaps;
    assert_eq!((gaps[0].from, gaps[0].to), (at(20), Some(at(100))));
}

#[test]
fn a_restarted_aggregator_still_knows_whom_it_expects() {
    let mut before = script(&["eu"]);
    before.hello(1, "eu", None);
    before.hello(2, "eu", None);
    before.live(100, &[1, 2], 10);
    before.coverage.committed(|_| [90, 0, 0]);
    before.live(110, &[1, 2], 10);
    let records = before.coverage.records();
    let mut after = script(&["eu"]);
    after.now = 140;
    after.coverage.learn(records);
    let region = after.region("eu");
    assert_eq!((region.agents_expected, region.state), (2, RegionState::Silent));
    // Nobody has committed what came after second 90: it is not counted as there.
    assert!(region.complete_to <= Some(at(90)), "{region:?}");
    after.hello_of(1, "eu", None, 0, 0);
    after.live(150, &[1], 10);
    assert_eq!(
        (after.region("eu").agents_reporting, after.region("eu").state),
        (1, RegionState::Late)
    );
}

#[test]
fn another_aggregators_newer_word_counts() {
    let mut first = script(&["eu"]);
    first.hello(1, "eu", None);
    first.live(100, &[1], 10);
    let mut second = script(&["eu"]);
    second.coverage.learn(first.coverage.records());
    second.hello_of(1, "eu", None, 0, 0);
    second.now = 100;
    second.live(200, &[1], 10);
    second.coverage.committed(|_| [200, 0, 0]);
    first.now = 200;
    assert_eq!(first.region("eu").state, RegionState::Silent);
    first.coverage.learn(second.coverage.records());
    let region = first.region("eu");
    assert_eq!(
        (region.state, region.complete_to),
        (RegionState::Ok, Some(at(190)))
    );
}

#[test]
fn a_region_that_is_not_configured_is_listed_with_a_warning() {
    let mut script = script(&["eu"]);
    script.hello(1, "eu", None);
    script.hello(2, "mars", None);
    script.live(60, &[1, 2], 10);
    let report = script.report();
    let names: Vec<&str> = report
        .regions
        .iter()
        .map(|region| region.region.as_str())
        .collect();
    assert_eq!(names, ["eu", "mars"]);
    assert!(report.warnings[0].contains("mars"), "{:?}", report.warnings);
}

#[test]
fn an_agent_that_is_not_read_because_memory_is_full_here_is_late_and_not_silent() {
    let mut script = script(&["eu"]);
    script.hello(1, "eu", None);
    script.live(100, &[1], 10);
    for now in 101..200 {
        script.coverage.held(id(1), at(now));
    }
    script.now = 200;
    assert_eq!(script.region("eu").state, RegionState::Late);
    assert_eq!(script.region("eu").complete_to, Some(at(90)));
}
