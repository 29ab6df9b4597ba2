//! Who we are to AWS: the default chain of `aws-config`, asked over our own HTTP client, a role
//! on top where one is configured, and what was found kept until shortly before it expires.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::Mutex;

use super::AwsSettings;
use crate::requests::client::Client;

/// Credentials are renewed so long before they expire.
const RENEW_AHEAD: Duration = Duration::from_secs(300);
/// What never expires is looked for again so often, from the start of the chain: it remembers what
/// it read, and a file may have been replaced.
const RENEW_AFTER: Duration = Duration::from_secs(900);
const SESSION: &str = "meridian-agent";

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Nothing in the chain has any.
    #[error(
        "nothing in AWS's default chain has any: set AWS_ACCESS_KEY_ID, a profile, a role of the pod or the node"
    )]
    NoProvider,
    /// Something has, and failed.
    #[error("they could not be had")]
    Provider(#[from] CredentialsError),
}

/// Credentials, found when they are first needed; clones share them.
#[derive(Clone)]
pub struct Identity {
    settings: Arc<AwsSettings>,
    client: Client,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    /// The one whose credentials expire.
    provider: Option<SharedCredentialsProvider>,
    credentials: Option<(Credentials, tokio::time::Instant)>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// Looks for nothing yet.
    pub fn new(settings: &AwsSettings, client: Client) -> Self {
        Self {
            settings: Arc::new(settings.clone()),
            client,
            kept: Arc::default(),
        }
    }

    /// Valid credentials, from memory as a rule.
    pub async fn credentials(&self) -> Result<Credentials, CredentialError> {
        // One looks, the others wait for what it finds.
        let mut kept = self.kept.lock().await;
        if let Some((credentials, renew)) = &kept.credentials
            && tokio::time::Instant::now() < *renew
        {
            return Ok(credentials.clone());
        }
        // Taken out: what has failed is not asked again, as it remembers the files that were not there.
        let provider = match kept.provider.take() {
            Some(provider) => provider,
            None => self.provider().await?,
        };
        let credentials = provider
            .provide_credentials()
            .await
            .map_err(|error| match error {
                CredentialsError::CredentialsNotLoaded(_) => CredentialError::NoProvider,
                other => CredentialError::Provider(other),
            })?;
        let renew = tokio::time::Instant::now() + renew_after(&credentials);
        kept.provider = credentials.expiry().map(|_| provider);
        kept.credentials = Some((credentials.clone(), renew));
        Ok(credentials)
    }

    async fn provider(&self) -> Result<SharedCredentialsProvider, CredentialError> {
        let client = self.client.clone();
        let http = http_client_fn(move |_, _| SharedHttpConnector::new(Connector(client.clone())));
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(self.settings.region.clone()))
            .http_client(http)
            .load()
            .await;
        match &self.settings.assume_role {
            Some(role) => Ok(SharedCredentialsProvider::new(assume(role, &config).await)),
            None => config.credentials_provider().ok_or(CredentialError::NoProvider),
        }
    }
}

async fn assume(role: &str, config: &SdkConfig) -> AssumeRoleProvider {
    AssumeRoleProvider::builder(role)
        .session_name(SESSION)
        .configure(config)
        .build()
        .await
}

fn renew_after(credentials: &Credentials) -> Duration {
    let Some(expiry) = credentials.expiry() else {
        return RENEW_AFTER;
    };
    let left = expiry.duration_since(now()).unwrap_or_default();
    left.saturating_sub(RENEW_AHEAD).max(left / 2).min(RENEW_AFTER)
}

/// The credentials' own clock is the machine's: they were made with it.
fn now() -> SystemTime {
    let clock = meridian_runtime::clock::Clock::system();
    SystemTime::UNIX_EPOCH + Duration::from_nanos(clock.now_unix_nanos())
}

/// Our HTTP client, as AWS's library wants one.
#[derive(Debug)]
struct Connector(Client);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|error| ConnectorError::user(error.into()))?;
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(ConnectorError::user)?;
            let request = http::Request::from_parts(parts, Full::new(body.to_bytes()));
            let answer = client
                .send(request)
                .await
                .map_err(|error| ConnectorError::io(error.into()))?;
            let mut response = http::Response::new(SdkBody::from(answer.body));
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}
