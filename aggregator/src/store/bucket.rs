//! A bucket of S3, or of a server that speaks its protocol: where it is, how long its requests
//! may take, and who pays for them. Commits rest on conditional puts (`If-None-Match: *`).
//!
//! Credentials are found as AWS's own tools find them: variables of the environment, a profile
//! of the shared files, a web identity (EKS), a container's endpoint (ECS, EKS Pod Identity),
//! the instance's metadata (IMDSv2). The first that is configured is used, and asked again
//! before what it gave expires. SSO is not spoken; a profile's `credential_process` can.

mod credentials;
mod profile;

use std::sync::Arc;
use std::time::Duration;

use meridian_runtime::config::environment;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider, S3ConditionalPut};
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};

use crate::config::S3Config;
use credentials::ProfileCredentials;
pub use profile::ProfileError;
use profile::Profiles;

const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Attempts within the retry timeout; throttling answers at once, and costs one each.
const RETRIES_MAX: usize = 20;
/// The region whose signatures servers other than AWS's expect unless they are told otherwise.
const REGION_DEFAULT: &str = "us-east-1";

/// A bucket whose settings are incomplete or contradict each other.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The settings.
    #[error("settings of the bucket are incomplete")]
    Settings(#[from] object_store::Error),
    /// The profile.
    #[error("profile of the shared AWS files cannot be used")]
    Profile(#[from] ProfileError),
}

/// Makes the client of a bucket; nothing is asked of it yet.
pub(super) fn open(name: &str, config: &S3Config) -> Result<Arc<dyn ObjectStore>, BucketError> {
    let profiles = Profiles::from_environment()?;
    let mut builder = settings(config, &profiles).with_bucket_name(name);
    if let Some(provider) = from_profile(config, &profiles)? {
        builder = builder.with_credentials(provider);
    }
    Ok(Arc::new(builder.build()?))
}

/// Where a setting has no key of ours, the variables of the environment hold.
fn settings(config: &S3Config, profiles: &Profiles) -> AmazonS3Builder {
    let retry = RetryConfig {
        backoff: BackoffConfig {
            max_backoff: BACKOFF_MAX,
            ..BackoffConfig::default()
        },
        max_retries: RETRIES_MAX,
        retry_timeout: config.retry_timeout,
    };
    let endpoint = config
        .endpoint
        .clone()
        .or_else(|| environment("AWS_ENDPOINT_URL_S3"))
        .or_else(|| environment("AWS_ENDPOINT_URL"));
    let mut builder = AmazonS3Builder::from_env()
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry)
        .with_region(region(config, profiles))
        .with_config(client(ClientConfigKey::Timeout), millis(config.request_timeout))
        .with_config(
            client(ClientConfigKey::ConnectTimeout),
            millis(config.connect_timeout),
        );
    if !config.path_style {
        builder = builder.with_virtual_hosted_style_request(true);
    }
    if let Some(endpoint) = endpoint {
        // Whoever writes http:// means it.
        let is_plain = endpoint.starts_with("http://");
        builder = builder
            .with_config(AmazonS3ConfigKey::S3Endpoint, endpoint)
            .with_allow_http(is_plain);
    }
    builder
}

fn region(config: &S3Config, profiles: &Profiles) -> String {
    let configured = config.region.clone();
    configured
        .or_else(|| environment("AWS_REGION"))
        .or_else(|| environment("AWS_DEFAULT_REGION"))
        .or_else(|| profiles.region().map(ToOwned::to_owned))
        .unwrap_or_else(|| REGION_DEFAULT.to_owned())
}

/// The profile's credentials, unless the environment has some: they come first.
fn from_profile(
    config: &S3Config,
    profiles: &Profiles,
) -> Result<Option<AwsCredentialProvider>, BucketError> {
    if environment("AWS_ACCESS_KEY_ID").is_some() {
        return Ok(None);
    }
    let Some(plan) = profiles.plan()? else {
        return Ok(None);
    };
    let region = region(config, profiles);
    Ok(Some(Arc::new(ProfileCredentials::new(plan, region)?)))
}

/// The provider that a builder without our own would use.
fn ambient(more: Vec<(AmazonS3ConfigKey, String)>) -> Result<AwsCredentialProvider, object_store::Error> {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name("credentials-only");
    for (key, value) in more {
        builder = builder.with_config(key, value);
    }
    Ok(Arc::clone(builder.build()?.credentials()))
}

fn client(key: ClientConfigKey) -> AmazonS3ConfigKey {
    AmazonS3ConfigKey::Client(key)
}

fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
