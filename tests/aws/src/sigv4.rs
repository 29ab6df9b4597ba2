//! Checks AWS Signature Version 4 by computing it from what has arrived, with nothing of the code
//! that signs. Signatures in query strings, of chunks and of S3 are not known.
//!
//! Source: "Create a signed AWS API request", IAM User Guide.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::action::Dialect;
use crate::call::Call;
use crate::problem::{Cause, Problem};
use crate::time;

/// A signature may be so much older or newer than the service's clock, in seconds.
const SKEW_MAX: i64 = 300;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A key that is known.
#[derive(Debug, Clone)]
pub struct Key {
    pub secret: String,
    /// Requests must carry it.
    pub token: Option<String>,
    pub expires_unix: Option<i64>,
}

/// What a signature must be for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub region: &'a str,
    pub service: &'a str,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// There is no signature.
    Missing,
    /// Parts of it are missing.
    Incomplete(&'static str),
    /// The key, or the token that belongs to it, is not known.
    Unknown,
    /// The token was valid once.
    Expired,
    /// It is for another region, service or day.
    Scope(&'static str),
    /// Too old, or too new.
    Time,
    /// A header should be signed and is not.
    Unsigned(String),
    /// It is a signature of something else, or by another secret.
    Mismatch,
}

/// The header `Authorization` in its parts.
struct Authorization<'a> {
    key: &'a str,
    /// Day, region, service, and the word that ends them.
    scope: [&'a str; 4],
    signed: Vec<&'a str>,
    signature: &'a str,
}

/// Whether a known key has signed the request, for this scope and time.
pub fn verify(
    call: &Call,
    keys: &BTreeMap<String, Key>,
    scope: Scope<'_>,
    now_unix: i64,
) -> Result<(), Flaw> {
    let authorization = Authorization::of(call)?;
    let date = call.header("x-amz-date");
    let signed_at = time::of_basic(date).ok_or(Flaw::Incomplete("X-Amz-Date"))?;
    let key = keys.get(authorization.key).ok_or(Flaw::Unknown)?;
    if key.token.as_deref().unwrap_or_default() != call.header("x-amz-security-token") {
        return Err(Flaw::Unknown);
    }
    if key.expires_unix.is_some_and(|expires| expires <= now_unix) {
        return Err(Flaw::Expired);
    }
    let [day, region, service, end] = authorization.scope;
    if region != scope.region {
        return Err(Flaw::Scope("region"));
    }
    if service != scope.service {
        return Err(Flaw::Scope("service"));
    }
    if end != "aws4_request" || !date.starts_with(day) || day.len() != 8 {
        return Err(Flaw::Scope("date"));
    }
    if (now_unix - signed_at).abs() > SKEW_MAX {
        return Err(Flaw::Time);
    }
    check_signed(call, &authorization.signed)?;
    let scope = authorization.scope.join("/");
    let text = format!(
        "{ALGORITHM}\n{date}\n{scope}\n{}",
        sha256(canonical(call, &authorization.signed).as_bytes())
    );
    let expected = hex(&hmac(
        &signing_key(&key.secret, authorization.scope),
        text.as_bytes(),
    ));
    (expected == authorization.signature)
        .then_some(())
        .ok_or(Flaw::Mismatch)
}

impl<'a> Authorization<'a> {
    fn of(call: &'a Call) -> Result<Self, Flaw> {
        let header = call.header("authorization");
        if header.is_empty() {
            return Err(Flaw::Missing);
        }
        let parts = header
            .strip_prefix(ALGORITHM)
            .ok_or(Flaw::Incomplete(ALGORITHM))?;
        let part = |name: &'static str| {
            let mut parts = parts.split(',').map(str::trim);
            let value = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            value.ok_or(Flaw::Incomplete(name))
        };
        let (key, scope) = part("Credential")?
            .split_once('/')
            .ok_or(Flaw::Incomplete("Credential"))?;
        let scope: Vec<&str> = scope.split('/').collect();
        Ok(Self {
            key,
            scope: scope.try_into().map_err(|_| Flaw::Incomplete("Credential"))?,
            signed: part("SignedHeaders")?.split(';').collect(),
            signature: part("Signature")?,
        })
    }
}

/// What could change a request's meaning must be signed, and what is signed must be there.
fn check_signed(call: &Call, signed: &[&str]) -> Result<(), Flaw> {
    let is_there = |name: &str| call.head.headers.contains_key(name);
    if let Some(name) = signed.iter().find(|name| !is_there(name)) {
        return Err(Flaw::Unsigned((*name).to_owned()));
    }
    let names = call.head.headers.keys().map(http::HeaderName::as_str);
    let mut needed = names.filter(|name| *name == "host" || name.starts_with("x-amz-"));
    let unsigned = needed.find(|name| !signed.contains(name));
    let is_sorted = signed.is_sorted();
    match unsigned {
        Some(name) => Err(Flaw::Unsigned(name.to_owned())),
        None if !signed.contains(&"host") => Err(Flaw::Unsigned("host".to_owned())),
        None if !is_sorted => Err(Flaw::Incomplete("SignedHeaders")),
        None => Ok(()),
    }
}

fn canonical(call: &Call, signed: &[&str]) -> String {
    let uri = &call.head.uri;
    let mut text = format!(
        "{}\n{}\n{}\n",
        call.head.method,
        encode_path(uri.path()),
        canonical_query(uri.query().unwrap_or_default())
    );
    for name in signed {
        let values = call.head.headers.get_all(*name);
        let values = values.iter().map(|value| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            value.split_whitespace().collect::<Vec<_>>().join(" ")
        });
        writeln!(text, "{name}:{}", values.collect::<Vec<_>>().join(",")).expect("strings take all");
    }
    write!(text, "\n{}\n{}", signed.join(";"), sha256(&call.body)).expect("strings take all");
    text
}

/// The path is encoded once more than it was sent: all services but S3 want that.
fn encode_path(path: &str) -> String {
    let mut encoded = String::new();
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                encoded.push(byte.into())
            }
            _ => write!(encoded, "%{byte:02X}").expect("strings take all"),
        }
    }
    encoded
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            if pair.contains('=') {
                pair.to_owned()
            } else {
                format!("{pair}=")
            }
        })
        .collect();
    pairs.sort();
    pairs.join("&")
}

fn signing_key(secret: &str, scope: [&str; 4]) -> Vec<u8> {
    let start = format!("AWS4{secret}").into_bytes();
    scope.iter().fold(start, |key, part| hmac(&key, part.as_bytes()))
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("strings take all");
        text
    })
}

impl Flaw {
    /// What a service says to it.
    pub fn problem(&self, dialect: Dialect, scope: &Scope<'_>) -> Problem {
        let (code, message) = self.said(scope);
        // Services that speak JSON end each code with the same word, and those that speak JSON
        // without REST answer everything with 400.
        let code = match dialect {
            Dialect::Query => code.0,
            _ => code.1,
        };
        let status = match (dialect, self) {
            (Dialect::Json | Dialect::JsonOfQuery, _) | (Dialect::Query, Self::Incomplete(_)) => 400,
            _ => 403,
        };
        Problem {
            cause: Cause::Identity,
            status,
            code,
            message,
        }
    }

    fn said(&self, scope: &Scope<'_>) -> ((&'static str, &'static str), String) {
        const MISMATCH: (&str, &str) = ("SignatureDoesNotMatch", "InvalidSignatureException");
        match self {
            Self::Missing => (
                ("MissingAuthenticationToken", "MissingAuthenticationTokenException"),
                "Missing Authentication Token".to_owned(),
            ),
            Self::Incomplete(part) => (
                ("IncompleteSignature", "IncompleteSignatureException"),
                format!("Authorization header requires '{part}' parameter."),
            ),
            Self::Unknown => (
                ("InvalidClientTokenId", "UnrecognizedClientException"),
                "The security token included in the request is invalid.".to_owned(),
            ),
            Self::Expired => (
                ("ExpiredToken", "ExpiredTokenException"),
                "The security token included in the request is expired".to_owned(),
            ),
            Self::Scope("region") => (
                MISMATCH,
                format!("Credential should be scoped to a valid region, not another than '{}'.", scope.region),
            ),
            Self::Scope("service") => (
                MISMATCH,
                format!("Credential should be scoped to correct service: '{}'.", scope.service),
            ),
            Self::Scope(_) => (MISMATCH, "Date in Credential scope does not match the date.".to_owned()),
            Self::Time => (MISMATCH, "Signature expired, or not yet current (5 min.)".to_owned()),
            Self::Unsigned(name) => (MISMATCH, format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")),
            Self::Mismatch => (
                MISMATCH,
                "The request signature we calculated does not match the signature you provided. Check your AWS \
                 Secret Access Key and signing method."
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
