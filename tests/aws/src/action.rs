//! What a request asks for, by the ways in which the services are told: a path, a header, or a
//! member of a form. Nothing is done here.

use crate::call::Call;

/// A service by the name that signatures give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// X-Ray.
    Xray,
    /// CloudWatch Logs.
    Logs,
    /// CloudWatch.
    CloudWatch,
    /// The security token service.
    Sts,
}

impl Service {
    /// Its name in signatures.
    pub fn signing_name(self) -> &'static str {
        match self {
            Self::Xray => "xray",
            Self::Logs => "logs",
            Self::CloudWatch => "monitoring",
            Self::Sts => "sts",
        }
    }
}

/// How a service is spoken to, and how it tells an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// JSON, with the action in the path and the error's code in a header.
    RestJson,
    /// JSON 1.1, with the action in a header and the error's code in the body.
    Json,
    /// JSON 1.0 of a service that used to speak XML: the old code is in a header.
    JsonOfQuery,
    /// A form, answered in XML.
    Query,
    /// OTLP/HTTP, with its `Status` as the error.
    Otlp,
}

/// An operation of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// X-Ray's, by REST.
    PutTraceSegments,
    /// CloudWatch Logs'.
    PutLogEvents,
    /// CloudWatch Logs'.
    CreateLogGroup,
    /// CloudWatch Logs'.
    CreateLogStream,
    /// CloudWatch Logs'.
    PutRetentionPolicy,
    /// CloudWatch's.
    PutMetricData,
    /// The security token service's.
    AssumeRole,
    /// X-Ray's OTLP endpoint.
    OtlpTraces,
    /// CloudWatch Logs' OTLP endpoint.
    OtlpLogs,
    /// CloudWatch's OTLP endpoint.
    OtlpMetrics,
}

impl Action {
    /// What the request asks for, if it is something that is known.
    pub fn of(call: &Call) -> Option<Self> {
        if call.head.method != http::Method::POST {
            return None;
        }
        match call.head.uri.path() {
            "/TraceSegments" => Some(Self::PutTraceSegments),
            "/v1/traces" => Some(Self::OtlpTraces),
            "/v1/logs" => Some(Self::OtlpLogs),
            "/v1/metrics" => Some(Self::OtlpMetrics),
            "/" => match call.header("x-amz-target") {
                "" => Self::of_form(call),
                target => Self::of_target(target),
            },
            _ => None,
        }
    }

    fn of_target(target: &str) -> Option<Self> {
        Some(match target {
            "Logs_20140328.PutLogEvents" => Self::PutLogEvents,
            "Logs_20140328.CreateLogGroup" => Self::CreateLogGroup,
            "Logs_20140328.CreateLogStream" => Self::CreateLogStream,
            "Logs_20140328.PutRetentionPolicy" => Self::PutRetentionPolicy,
            "GraniteServiceVersion20100801.PutMetricData" => Self::PutMetricData,
            _ => return None,
        })
    }

    /// The action and the version of a form stand before what can be long.
    fn of_form(call: &Call) -> Option<Self> {
        let plain = call.plain().ok()?;
        let begin = String::from_utf8_lossy(plain.get(..256).unwrap_or(&plain)).into_owned();
        let has = |pair: &str| begin.split('&').any(|member| member == pair);
        if has("Action=PutMetricData") && has("Version=2010-08-01") {
            return Some(Self::PutMetricData);
        }
        (has("Action=AssumeRole") && has("Version=2011-06-15")).then_some(Self::AssumeRole)
    }

    /// Whose it is.
    pub fn service(self) -> Service {
        match self {
            Self::PutTraceSegments | Self::OtlpTraces => Service::Xray,
            Self::PutLogEvents
            | Self::CreateLogGroup
            | Self::CreateLogStream
            | Self::PutRetentionPolicy
            | Self::OtlpLogs => Service::Logs,
            Self::PutMetricData | Self::OtlpMetrics => Service::CloudWatch,
            Self::AssumeRole => Service::Sts,
        }
    }

    /// What a policy must allow for it.
    pub fn permission(self) -> &'static str {
        match self {
            Self::PutTraceSegments => "xray:PutTraceSegments",
            Self::OtlpTraces => "xray:PutSpans",
            Self::PutLogEvents | Self::OtlpLogs => "logs:PutLogEvents",
            Self::CreateLogGroup => "logs:CreateLogGroup",
            Self::CreateLogStream => "logs:CreateLogStream",
            Self::PutRetentionPolicy => "logs:PutRetentionPolicy",
            Self::PutMetricData | Self::OtlpMetrics => "cloudwatch:PutMetricData",
            Self::AssumeRole => "sts:AssumeRole",
        }
    }

    /// Calls per second that an account may make whatever else is asked for, if that is few.
    pub fn quota(self) -> Option<f64> {
        match self {
            Self::CreateLogGroup => Some(5.0),
            Self::CreateLogStream => Some(50.0),
            _ => None,
        }
    }

    /// How this request is answered.
    pub fn dialect(self, call: &Call) -> Dialect {
        match self {
            Self::PutTraceSegments => Dialect::RestJson,
            Self::OtlpTraces | Self::OtlpLogs | Self::OtlpMetrics => Dialect::Otlp,
            Self::PutMetricData if !call.header("x-amz-target").is_empty() => Dialect::JsonOfQuery,
            Self::PutMetricData | Self::AssumeRole => Dialect::Query,
            _ => Dialect::Json,
        }
    }
}
