//! The security token service's AssumeRole: temporary keys for a role, which the other services
//! know from then on. Whether the role trusts the caller is not asked.
//!
//! Source: AssumeRole, AWS Security Token Service API reference.

use crate::account::{Account, Answer};
use crate::call::Call;
use crate::cloudwatch::form;
use crate::problem::{Problem, REQUEST_ID, taken};
use crate::sigv4::Key;

const INVALID: &str = "ValidationError";
const SECONDS_DEFAULT: i64 = 3600;

/// AssumeRole.
pub fn assume_role(account: &Account, call: &Call) -> Result<Answer, Problem> {
    let plain = call
        .plain()
        .map_err(|error| Problem::shape(INVALID, error.to_string()))?;
    let pairs = form::pairs(&plain).ok_or_else(|| Problem::shape(INVALID, "this is no form"))?;
    let get = |name: &str| {
        pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let role = get("RoleArn").filter(|role| role.starts_with("arn:") && role.contains(":role/"));
    let role = role.ok_or_else(|| Problem::shape(INVALID, "RoleArn is not the ARN of a role"))?;
    let is_name = |name: &&str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_=,.@-".contains(&byte);
        (2..=64).contains(&name.len()) && name.bytes().all(is_allowed)
    };
    let session = get("RoleSessionName").filter(is_name);
    let session = session.ok_or_else(|| Problem::shape(INVALID, "RoleSessionName is not a name"))?;
    let seconds = get("DurationSeconds").map_or(Some(SECONDS_DEFAULT), |seconds| seconds.parse().ok());
    let seconds = seconds.filter(|seconds| (900..=43_200).contains(seconds));
    let seconds = seconds.ok_or_else(|| Problem::shape(INVALID, "DurationSeconds is out of range"))?;

    let mut state = account.state.lock();
    let number = state.keys.len();
    let (id, secret, token) = (
        format!("ASIAEXAMPLE{number}"),
        format!("secret of {role}"),
        format!("token/{number}+="),
    );
    let key = Key {
        secret: secret.clone(),
        token: Some(token.clone()),
        expires_unix: Some(account.now_millis() / 1000 + seconds),
    };
    state.keys.insert(id.clone(), key);
    // Further away than any test lasts: the key's own expiry is what is checked.
    let expiration = "2099-01-01T00:00:00Z";
    Ok(taken(
        "text/xml",
        format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
             <AssumedRoleUser><Arn>{role}/{session}</Arn><AssumedRoleId>AROAEXAMPLE:{session}</AssumedRoleId>\
             </AssumedRoleUser><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}\
             </SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{expiration}</Expiration>\
             </Credentials></AssumeRoleResult><ResponseMetadata><RequestId>{REQUEST_ID}</RequestId>\
             </ResponseMetadata></AssumeRoleResponse>"
        ),
    ))
}
