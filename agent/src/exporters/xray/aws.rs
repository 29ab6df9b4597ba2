//! The member `aws`: on what a service runs, which is the same for all of its spans, and what a
//! call of AWS's API did.

use super::facts::Facts;
use super::json;
use super::keys::Key;
use super::names;
use super::resource::ResourceParts;
use crate::otlp::view::elements;
use crate::otlp::{AnyValue, Malformed};

const REQUEST_IDS: [Key; 2] = [Key::AwsRequestId, Key::AwsRequestIdOld];
const QUEUE_URLS: [Key; 4] = [
    Key::AwsSqsQueueUrl,
    Key::MessagingUrl,
    Key::AwsQueueUrl,
    Key::AwsQueueUrlOld,
];
const TABLE_NAMES: [Key; 2] = [Key::AwsTableName, Key::AwsTableNameOld];

/// Names in one list, of tables or of log groups.
const LISTED_MAX: usize = 20;

/// Writes the member.
pub fn write(
    out: &mut String,
    facts: &mut Facts<'_, '_>,
    resource: &ResourceParts<'_, '_>,
    is_call: bool,
) -> Result<(), Malformed> {
    json::object(out, "aws", |out| {
        out.push_str(&resource.aws);
        let remote = is_call && facts.write_text(out, "account_id", &[Key::AwsAccountId]);
        if let Some(account) = resource.account.filter(|_| !remote) {
            json::text(out, "account_id", account);
        }
        if is_call { call(out, facts) } else { Ok(()) }
    })
}

fn call(out: &mut String, facts: &mut Facts<'_, '_>) -> Result<(), Malformed> {
    let is_aws = names::is_aws_call(facts);
    if !facts.write_text(out, "operation", &[Key::AwsOperation]) && is_aws {
        operation_of_method(out, facts);
    }
    if !facts.write_text(out, "region", &[Key::AwsRegion]) && is_aws {
        facts.write_text(out, "region", &[Key::CloudRegion]);
    }
    facts.write_text(out, "request_id", &REQUEST_IDS);
    facts.write_text(out, "queue_url", &QUEUE_URLS);
    tables(out, facts)
}

/// The method is `PutObject`, or `S3/PutObject` by newer conventions.
fn operation_of_method(out: &mut String, facts: &mut Facts<'_, '_>) {
    if let Some(method) = facts.text(Key::RpcMethod) {
        let operation = method.rsplit_once('/').map_or(method, |(_, operation)| operation);
        if json::text(out, "operation", operation) && operation == method {
            facts.mark(Key::RpcMethod);
        }
    }
}

fn tables(out: &mut String, facts: &mut Facts<'_, '_>) -> Result<(), Malformed> {
    let names = match facts.value(Key::AwsDynamodbTableNames) {
        Some(value) => texts(value)?,
        None => Vec::new(),
    };
    let is_whole = match names.as_slice() {
        [] => {
            facts.write_text(out, "table_name", &TABLE_NAMES);
            return Ok(());
        }
        [only] => json::text(out, "table_name", only),
        several => json::array(out, "table_names", |out| {
            let mut is_whole = several.len() <= LISTED_MAX;
            for name in several.iter().take(LISTED_MAX) {
                is_whole &= element(out, name);
            }
            is_whole
        }),
    };
    if is_whole {
        facts.mark(Key::AwsDynamodbTableNames);
    }
    Ok(())
}

fn element(out: &mut String, text: &str) -> bool {
    let (kept, is_whole) = json::cut(text, json::TEXT_CHARS_MAX);
    json::separate(out);
    meridian_proto::attributes::push_json_string(out, kept);
    is_whole
}

/// The texts of an array; a text is an array of one.
pub fn texts<'s>(value: &'s AnyValue<'_>) -> Result<Vec<&'s str>, Malformed> {
    let mut texts = Vec::new();
    match value {
        AnyValue::String(text) => texts.push(*text),
        AnyValue::Array(values) => {
            for value in elements(values) {
                if let AnyValue::String(text) = value? {
                    texts.push(text);
                }
            }
        }
        _ => {}
    }
    texts.retain(|text| !text.is_empty());
    Ok(texts)
}

/// X-Ray's word for where a service runs.
pub fn origin(facts: &Facts<'_, '_>) -> Option<&'static str> {
    if !may_be_aws(facts) {
        return None;
    }
    match facts.text(Key::CloudPlatform)? {
        "aws_app_runner" => Some("AWS::AppRunner::Service"),
        "aws_eks" => Some("AWS::EKS::Container"),
        "aws_elastic_beanstalk" => Some("AWS::ElasticBeanstalk::Environment"),
        "aws_ec2" => Some("AWS::EC2::Instance"),
        "aws_ecs" => match facts.text(Key::AwsEcsLaunchtype) {
            Some(kind) if kind.eq_ignore_ascii_case("ec2") => Some("AWS::ECS::EC2"),
            Some(kind) if kind.eq_ignore_ascii_case("fargate") => Some("AWS::ECS::Fargate"),
            _ => Some("AWS::ECS::Container"),
        },
        _ => None,
    }
}

fn may_be_aws(facts: &Facts<'_, '_>) -> bool {
    facts
        .text(Key::CloudProvider)
        .is_none_or(|provider| provider == "aws")
}

/// The account that a service runs in.
pub fn account<'a>(facts: &Facts<'_, 'a>) -> Option<&'a str> {
    facts.text(Key::CloudAccountId).filter(|_| may_be_aws(facts))
}

/// Writes what is known of where a service runs, as members of `aws`.
pub fn platform(out: &mut String, facts: &mut Facts<'_, '_>, log_groups: &[String]) -> Result<(), Malformed> {
    if !may_be_aws(facts) {
        return Ok(());
    }
    let platform = facts.text(Key::CloudPlatform);
    let host = facts.text(Key::HostId);
    if platform == Some("aws_ec2") || host.is_some_and(|host| host.starts_with("i-")) {
        members(out, facts, "ec2", &EC2);
    }
    if platform == Some("aws_ecs") {
        members(out, facts, "ecs", &ECS);
    }
    if platform == Some("aws_eks") || facts.has(Key::K8sClusterName) {
        members(out, facts, "eks", &EKS);
    }
    if platform == Some("aws_elastic_beanstalk") {
        json::object(out, "elastic_beanstalk", |out| {
            facts.write_text(out, "environment_name", &[Key::ServiceNamespace]);
            facts.write_int(out, "deployment_id", &[Key::ServiceInstanceId]);
            facts.write_text(out, "version_label", &[Key::ServiceVersion]);
        });
    }
    write_log_groups(out, facts, log_groups)?;
    json::object(out, "xray", |out| sdk(out, facts));
    Ok(())
}

const EC2: [(&str, Key); 4] = [
    ("instance_id", Key::HostId),
    ("availability_zone", Key::CloudAvailabilityZone),
    ("instance_size", Key::HostType),
    ("ami_id", Key::HostImageId),
];

const ECS: [(&str, Key); 8] = [
    ("container", Key::ContainerName),
    ("container_id", Key::ContainerId),
    ("container_arn", Key::AwsEcsContainerArn),
    ("cluster_arn", Key::AwsEcsClusterArn),
    ("task_arn", Key::AwsEcsTaskArn),
    ("task_family", Key::AwsEcsTaskFamily),
    ("launch_type", Key::AwsEcsLaunchtype),
    ("availability_zone", Key::CloudAvailabilityZone),
];

const EKS: [(&str, Key); 3] = [
    ("cluster_name", Key::K8sClusterName),
    ("pod", Key::K8sPodName),
    ("container_id", Key::ContainerId),
];

fn members(out: &mut String, facts: &mut Facts<'_, '_>, member: &str, table: &[(&str, Key)]) {
    json::object(out, member, |out| {
        for &(name, key) in table {
            facts.write_text(out, name, &[key]);
        }
    });
}

fn sdk(out: &mut String, facts: &mut Facts<'_, '_>) {
    if let Some(name) = facts.text(Key::TelemetrySdkName) {
        match facts.text(Key::TelemetrySdkLanguage) {
            Some(language) => json::text(out, "sdk", &format!("{name} for {language}")),
            None => json::text(out, "sdk", name),
        };
    }
    facts.write_text(out, "sdk_version", &[Key::TelemetrySdkVersion]);
    if facts
        .first(&[Key::TelemetryAutoVersion, Key::TelemetryDistroVersion])
        .is_some()
    {
        json::truth(out, "auto_instrumentation");
    }
}

/// Where the logs of the service are: by ARN, by name, or as it is configured.
fn write_log_groups(out: &mut String, facts: &Facts<'_, '_>, configured: &[String]) -> Result<(), Malformed> {
    let listed = |key| facts.value(key).map_or(Ok(Vec::new()), texts);
    let (arns, names) = (listed(Key::AwsLogGroupArns)?, listed(Key::AwsLogGroupNames)?);
    // OTEL_RESOURCE_ATTRIBUTES has no lists: several are joined by `&`.
    let apart = |texts: &[&'_ str]| -> Vec<String> {
        let each = texts.iter().flat_map(|text| text.split('&'));
        each.filter(|text| !text.is_empty()).map(str::to_owned).collect()
    };
    let (arns, names) = (apart(&arns), apart(&names));
    let names = if names.is_empty() { configured } else { &names };
    json::array(out, "cloudwatch_logs", |out| {
        for arn in arns.iter().take(LISTED_MAX) {
            // arn:aws:logs:REGION:ACCOUNT:log-group:NAME:*
            let name = arn.split(':').nth(6).unwrap_or(arn);
            log_group(out, name, Some(arn));
        }
        for name in names.iter().take(LISTED_MAX).filter(|_| arns.is_empty()) {
            log_group(out, name, None);
        }
    });
    Ok(())
}

fn log_group(out: &mut String, name: &str, arn: Option<&str>) {
    json::separate(out);
    out.push('{');
    json::text(out, "log_group", name);
    if let Some(arn) = arn {
        json::text(out, "arn", arn);
    }
    out.push('}');
}
