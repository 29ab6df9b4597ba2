//! What the account has and remembers, and the order in which a request is judged: who, may they,
//! too fast, then the request itself. The requests are read elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use parking_lot::Mutex;

use crate::action::{Action, Dialect};
use crate::call::Call;
use crate::faults::{Bucket, Denied, Dice, Faults, Mishap};
use crate::problem::Problem;
use crate::seen::Seen;
use crate::sigv4::{self, Key};
use crate::{Settings, cloudwatch, logs, otlp, sts, xray};

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// The account.
pub struct Account {
    pub settings: Settings,
    pub state: Mutex<State>,
}

/// What changes.
pub struct State {
    pub seen: Seen,
    pub faults: Faults,
    pub dice: Dice,
    /// Log groups by name.
    pub groups: BTreeMap<String, Group>,
    /// Keys that were given out, by their ids.
    pub keys: BTreeMap<String, Key>,
}

/// A log group.
#[derive(Debug, Default)]
pub struct Group {
    pub retention_days: Option<i64>,
    pub streams: BTreeSet<String>,
}

impl State {
    pub fn fail(&mut self, faults: Faults) {
        self.faults = faults;
        self.dice.restart();
    }

    pub fn create(&mut self, group: &str, streams: &[&str]) {
        let group = self.groups.entry(group.to_owned()).or_default();
        group
            .streams
            .extend(streams.iter().map(|stream| (*stream).to_owned()));
    }

    /// Whether something is denied by a rule for this log group.
    pub fn denies_group(&self, group: &str) -> bool {
        let denied = &self.faults.denied;
        denied
            .iter()
            .any(|denied| matches!(denied, Denied::LogGroup(name) if name == group))
    }
}

impl Account {
    pub fn new(settings: Settings) -> Self {
        let key = Key {
            secret: settings.secret_access_key.clone(),
            token: settings.session_token.clone(),
            expires_unix: None,
        };
        let state = State {
            seen: Seen::default(),
            faults: Faults::default(),
            dice: Dice::of(settings.seed),
            groups: BTreeMap::new(),
            keys: BTreeMap::from([(settings.access_key_id.clone(), key)]),
        };
        Self {
            settings,
            state: Mutex::new(state),
        }
    }

    /// Milliseconds since the epoch.
    pub fn now_millis(&self) -> i64 {
        let millis = self.settings.clock.now_unix_nanos() / 1_000_000;
        i64::try_from(millis).unwrap_or(i64::MAX)
    }

    /// The answer to a request, and what was done if it was taken.
    pub fn answer(&self, call: &Call) -> (Answer, Option<Action>) {
        let Some(action) = Action::of(call) else {
            let problem = Problem {
                status: 404,
                ..Problem::shape("UnknownOperationException", call.head.uri.to_string())
            };
            self.state.lock().seen.refuse(None, &problem);
            return (problem.answer(Dialect::RestJson, true), None);
        };
        let dialect = action.dialect(call);
        self.state.lock().seen.called(action);
        let outcome = self.admit(action, dialect, call);
        match outcome.and_then(|()| self.perform(action, dialect, call)) {
            Ok(answer) => {
                *self.state.lock().seen.taken.entry(action).or_default() += 1;
                (answer, Some(action))
            }
            Err(problem) => {
                self.state.lock().seen.refuse(Some(action), &problem);
                let is_json = call.header("content-type").starts_with("application/json");
                (problem.answer(dialect, is_json), None)
            }
        }
    }

    fn admit(&self, action: Action, dialect: Dialect, call: &Call) -> Result<(), Problem> {
        let scope = sigv4::Scope {
            region: &self.settings.region,
            service: action.service().signing_name(),
        };
        let now_nanos = self.settings.clock.now_unix_nanos();
        let mut state = self.state.lock();
        sigv4::verify(call, &state.keys, scope, self.now_millis() / 1000)
            .map_err(|flaw| flaw.problem(dialect, &scope))?;
        let is_denied = |denied: &Denied| *denied == Denied::Everything || *denied == Denied::Action(action);
        if state.faults.denied.iter().any(is_denied) {
            return Err(Problem::denied(action, dialect, "*"));
        }
        let quota = action.quota().map(|rate| Bucket {
            per_second: rate,
            burst: rate,
        });
        let (throttled, bucket, broken) = (state.faults.throttled, state.faults.bucket, state.faults.broken);
        let is_over = quota.is_some_and(|quota| !state.dice.take(Some(action), quota, now_nanos))
            || bucket.is_some_and(|bucket| !state.dice.take(None, bucket, now_nanos));
        if is_over || state.dice.falls(Mishap::Throttled, throttled) {
            return Err(Problem::throttled(action, dialect));
        }
        if state.dice.falls(Mishap::Broken, broken) {
            return Err(Problem::broken(action));
        }
        Ok(())
    }

    fn perform(&self, action: Action, dialect: Dialect, call: &Call) -> Result<Answer, Problem> {
        match action {
            Action::PutTraceSegments => xray::put(self, call),
            Action::PutLogEvents => logs::put(self, call),
            Action::CreateLogGroup => logs::create_group(self, call),
            Action::CreateLogStream => logs::create_stream(self, call),
            Action::PutRetentionPolicy => logs::put_retention(self, call),
            Action::PutMetricData => cloudwatch::put(self, call, dialect),
            Action::AssumeRole => sts::assume_role(self, call),
            Action::OtlpTraces => otlp::traces(self, call),
            Action::OtlpLogs => otlp::logs(self, call),
            Action::OtlpMetrics => otlp::metrics(self, call),
        }
    }
}
