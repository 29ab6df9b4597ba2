//! Requests to AWS: where a service is, who we are, the signature, and what an error is called.
//!
//! Credentials come by the AWS default chain (environment, profiles, web identity, the
//! container's endpoint, the instance's metadata), and on from there by a role, if one is to be
//! assumed. What is sent and what an answer means is the exporters' business.

mod credentials;
mod fault;

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningError, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::Full;
use meridian_runtime::clock::Clock;
use meridian_runtime::config::{HttpUrl, Section};

use super::client::{Answer, Client, ClientError, Version};
pub use credentials::{CredentialError, Identity};
pub use fault::{Fault, is_passing, verdict_of_silence};

/// Which service, where, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsSettings {
    /// `region`: of the service.
    pub region: String,
    /// `endpoint_url`: another server than AWS's own for the region.
    pub endpoint_url: Option<HttpUrl>,
    /// `assume_role`: the ARN of a role that is assumed by the credentials of the default chain.
    pub assume_role: Option<String>,
}

impl AwsSettings {
    /// Reads these keys of an exporter's section.
    pub fn read(section: &mut Section<'_>) -> Self {
        let settings = Self {
            region: section.required("region"),
            endpoint_url: section.maybe("endpoint_url"),
            assume_role: section.maybe("assume_role"),
        };
        let is_name = |region: &str| {
            !region.is_empty()
                && region
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if section.has("region") && !is_name(&settings.region) {
            section.fault(
                "region",
                "is not the name of an AWS region; write it like eu-central-1",
            );
        }
        let is_role = |arn: &String| arn.starts_with("arn:") && arn.contains(":role/");
        if settings.assume_role.as_ref().is_some_and(|arn| !is_role(arn)) {
            section.fault(
                "assume_role",
                "is not the ARN of a role; write it like arn:aws:iam::123456789012:role/telemetry",
            );
        }
        settings
    }

    /// Where the service is.
    fn endpoint(&self, service: &str) -> String {
        match &self.endpoint_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => {
                let suffix = match self.region.starts_with("cn-") {
                    true => "amazonaws.com.cn",
                    false => "amazonaws.com",
                };
                format!("https://{service}.{}.{suffix}", self.region)
            }
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There are no credentials.
    #[error("no credentials")]
    Credentials(#[from] CredentialError),
    /// The request cannot be signed.
    #[error("the request cannot be signed")]
    Signing(#[from] SigningError),
    /// Nor can the signature's parts be put together.
    #[error("the signature's parts are not complete")]
    Parts(#[from] v4::signing_params::BuildError),
    /// The request cannot be made of these parts.
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    /// Nobody answered.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// What is sent.
#[derive(Debug, Clone)]
pub struct Call {
    /// After the endpoint, with the slash.
    pub path: &'static str,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Content-Encoding`, if the body has one.
    pub content_encoding: Option<&'static str>,
    /// Further headers, which are signed too.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

/// One service of one region; clones share connections and credentials.
#[derive(Debug, Clone)]
pub struct Aws {
    client: Client,
    identity: Identity,
    clock: Clock,
    endpoint: String,
    region: String,
    /// The service's name in signatures.
    signing_name: &'static str,
}

impl Aws {
    /// A service by the name of its host and the one in signatures. Nothing is asked yet.
    pub fn new(
        settings: &AwsSettings,
        host: &str,
        signing_name: &'static str,
        within: Duration,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let client = Client::new(Version::Http1, within)?;
        Ok(Self {
            identity: Identity::new(settings, client.clone()),
            client,
            clock,
            endpoint: settings.endpoint(host),
            region: settings.region.clone(),
            signing_name,
        })
    }

    /// Where the service is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Signs and sends a POST.
    pub async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let credentials = self.identity.credentials().await?;
        let mut request = Request::post(format!("{}{}", self.endpoint, call.path))
            .header(CONTENT_TYPE, call.content_type)
            .header(USER_AGENT, concat!("meridian-agent/", env!("CARGO_PKG_VERSION")));
        if let Some(encoding) = call.content_encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Full::new(call.body.clone()))?;
        self.sign(&mut request, &call.body, credentials)?;
        Ok(self.client.send(request).await?)
    }

    fn sign(
        &self,
        request: &mut Request<Full<Bytes>>,
        body: &Bytes,
        credentials: Credentials,
    ) -> Result<(), CallError> {
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.signing_name)
            .time(SystemTime::UNIX_EPOCH + Duration::from_nanos(self.clock.now_unix_nanos()))
            .settings(SigningSettings::default())
            .build()?
            .into();
        let headers = request
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let uri: &Uri = request.uri();
        let signable = SignableRequest::new("POST", uri.to_string(), headers, SignableBody::Bytes(body))?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}
